"""Standardised uptake values as QIBA's vendor-neutral pseudo-code defines them; nothing is guessed.

SUV = activity concentration x normaliser / dose, the dose decayed to the moment the voxels are corrected to.
Sources: QIBA FDG-PET/CT Profile, appendix G, and qibawiki.rsna.org, "Standardized Uptake Value (SUV)"; DICOM PS3.3
C.8.9.1 (Units, SUV Type, Decay Correction) and C.8.9.4.1.5 (Frame Reference Time).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from radfuse.data.reading.dicom.body import DICOM_TYPES, Kind, average_moment_s
from radfuse.data.reading.dicom.times import half_life, injection, scan_start
from radfuse.data.reading.dicom.tracer import Moment, Tracer
from radfuse.errors import DataError

DOSE_BQ = (1e5, 2e10)  # 0.1 MBq to 20 GBq: what is injected, from a mouse to a therapy; MBq written as Bq falls outside
MOST_HALF_LIVES = 12.0


def suv_factors(tracer: Tracer, moments: Sequence[Moment], kind: Kind = "bw") -> list[float]:
    """Give, for each slice, what its rescaled values are multiplied by to become SUV.

    Raises DataError naming the tag that is missing or contradicts another.
    """
    if tracer.units == "GML" or (tracer.units == "CM2ML" and tracer.suv_type == "BSA"):
        return [_converted(tracer, kind)] * len(moments)
    if tracer.units == "CNTS":
        return _from_counts(tracer, moments, kind)
    if tracer.units == "BQML":
        return _from_activity(tracer, moments, kind)
    raise DataError(
        f"Units (0054,1001) is {tracer.units or 'missing'}, expected BQML, CNTS with Philips' factors, or GML",
        hint="Export the series in Bq/ml.",
    )


def uptake_s(tracer: Tracer, moments: Sequence[Moment]) -> float | None:
    """Seconds from injection to the reference moment, for the record; None when the header does not tell."""
    try:
        return (scan_start(tracer, moments) - injection(tracer, scan_start(tracer, moments))).total_seconds()
    except DataError:
        return None


def _converted(tracer: Tracer, kind: Kind) -> float:
    """From the kind of SUV that is stored; absent, it is body weight (PS3.3 C.8.9.1, SUV Type)."""
    _check_attenuation(tracer, stated=bool(tracer.corrected))
    stored = DICOM_TYPES.get(tracer.suv_type or "BW")
    if stored is None:
        raise DataError(
            f"SUVType (0054,1006) is {tracer.suv_type}, expected {', '.join(DICOM_TYPES)}",
            hint="Export the series in Bq/ml.",
        )
    return 1.0 if stored == kind else tracer.body.size(kind) / tracer.body.size(stored)


def _from_counts(tracer: Tracer, moments: Sequence[Moment], kind: Kind) -> list[float]:
    """Philips: (7053,1000) makes SUVbw of counts; failing that, (7053,1009) makes Bq/ml of them."""
    if all(m.philips_suv for m in moments):
        _check_attenuation(tracer, stated=True)
        to_kind = 1.0 if kind == "bw" else tracer.body.size(kind) / tracer.body.size("bw")
        return [to_kind * (m.philips_suv or 0.0) for m in moments]
    if all(m.philips_bqml for m in moments):
        factors = _from_activity(tracer, moments, kind)
        return [factor * (m.philips_bqml or 0.0) for factor, m in zip(factors, moments, strict=True)]
    raise DataError(
        "Units (0054,1001) is CNTS, and Philips' factors (7053,1000) and (7053,1009) are not in every slice",
        hint="Export again with private tags kept, or in Bq/ml.",
    )


def _from_activity(tracer: Tracer, moments: Sequence[Moment], kind: Kind) -> list[float]:
    _check_attenuation(tracer, stated=True)
    _check_decay(tracer)
    dose, half_life_s = _dose(tracer), half_life(tracer)
    size = tracer.body.size(kind)
    if tracer.decay_correction == "ADMIN":
        return [size / dose] * len(moments)
    if tracer.decay_correction == "START":
        scan = scan_start(tracer, moments)
        return [size / _decayed(dose, scan - injection(tracer, scan), half_life_s)] * len(moments)
    factors = []
    for each in moments:
        if each.acquired is None or not each.duration_s:
            raise DataError(
                "DecayCorrection (0054,1102) is NONE, and AcquisitionDate, AcquisitionTime or ActualFrameDuration "
                "is missing, which tell when each slice was counted",
                hint="Export the series decay corrected.",
            )
        counted = each.acquired + timedelta(seconds=average_moment_s(each.duration_s, half_life_s))
        factors.append(size / _decayed(dose, counted - injection(tracer, counted), half_life_s))
    return factors


def _check_attenuation(tracer: Tracer, *, stated: bool) -> None:
    if stated and not any(word.startswith("ATTN") for word in tracer.corrected):
        raise DataError(
            f"CorrectedImage (0028,0051) is {', '.join(tracer.corrected) or 'missing'}, without ATTN: not corrected "
            "for attenuation, so no SUV",
            hint="Use the attenuation-corrected series.",
        )


def _check_decay(tracer: Tracer) -> None:
    if tracer.decay_correction not in ("START", "ADMIN", "NONE"):
        raise DataError(
            f"DecayCorrection (0054,1102) is {tracer.decay_correction or 'missing'}, expected START, ADMIN or NONE",
            hint="Ask the scanner's conformance statement, and correct the tag at its source.",
        )
    corrected = any(word in ("DECY", "DECAY") for word in tracer.corrected)
    if corrected != (tracer.decay_correction != "NONE"):
        raise DataError(
            f"DecayCorrection (0054,1102) is {tracer.decay_correction}, but CorrectedImage (0028,0051) "
            f"{'contains' if corrected else 'lacks'} DECY",
            hint="The two contradict each other: correct the wrong one at its source.",
        )


def _dose(tracer: Tracer) -> float:
    if tracer.tracers != 1:
        raise DataError(
            f"RadiopharmaceuticalInformationSequence (0054,0016) has {tracer.tracers} items, expected one",
            hint="Without exactly one injection there is no one dose; export the series again.",
        )
    if not tracer.dose:
        raise DataError("RadionuclideTotalDose (0018,1074) is missing", hint="Fill in the dose (Bq) at its source.")
    if not DOSE_BQ[0] <= tracer.dose <= DOSE_BQ[1]:
        raise DataError(
            f"RadionuclideTotalDose (0018,1074) is {tracer.dose:g}, expected {DOSE_BQ[0]:g} to {DOSE_BQ[1]:g} Bq",
            hint="Is it in MBq or mCi? Correct it, in becquerels, at its source.",
        )
    return tracer.dose


def _decayed(dose: float, waited: timedelta, half_life_s: float) -> float:
    halves = waited.total_seconds() / half_life_s
    if halves < 0 or halves > MOST_HALF_LIVES:
        raise DataError(
            f"the scan starts {waited.total_seconds() / 60:.0f} min after the injection, {halves:.1f} half-lives",
            hint="The dates or times of injection and scan contradict each other (were they shifted to de-identify?).",
        )
    return float(dose * 2.0**-halves)
