"""What a PET or NM header says of units, corrections, dose and times: read once, judged in `suv` and `times`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from radfuse.data.reading.dicom.body import Body
from radfuse.data.reading.dicom.header import GE_PET, PHILIPS_PET, items, moment, number, private, text, texts
from radfuse.errors import DataError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True)
class Tracer:
    """What one PET or NM header says of units, correction, dose and times; the same for every slice of a series."""

    units: str
    suv_type: str
    decay_correction: str
    corrected: tuple[str, ...]
    body: Body
    tracers: int
    dose: float | None
    half_life_s: float | None
    injected: str
    injected_time: str
    offset: str
    series: datetime | None
    ge_scan: str
    maker: str


@dataclass(frozen=True)
class Moment:
    """What changes from slice to slice.

    Parameters
    ----------
    acquired : Acquisition Date and Time: the start of the bed position.
    reference_s : Frame Reference Time, from the series' reference time.
    duration_s : Actual Frame Duration.
    philips_suv, philips_bqml : (7053,1000) and (7053,1009); None when absent or zero.
    """

    acquired: datetime | None
    reference_s: float | None
    duration_s: float | None
    philips_suv: float | None
    philips_bqml: float | None


def read_tracer(dataset: Dataset, units: str = "") -> Tracer:
    """Take the tags out of a header; units other than (0054,1001) come from a real-world value mapping."""
    drugs = items(dataset, "RadiopharmaceuticalInformationSequence")
    drug = drugs[0] if drugs else None
    return Tracer(
        units=units or text(dataset, "Units").upper(),
        suv_type=text(dataset, "SUVType").upper(),
        decay_correction=text(dataset, "DecayCorrection").upper(),
        corrected=tuple(sorted(texts(dataset, "CorrectedImage"))),
        body=Body(number(dataset, "PatientWeight"), number(dataset, "PatientSize"), text(dataset, "PatientSex")),
        tracers=len(drugs),
        dose=number(drug, "RadionuclideTotalDose") if drug is not None else None,
        half_life_s=number(drug, "RadionuclideHalfLife") if drug is not None else None,
        injected=text(drug, "RadiopharmaceuticalStartDateTime") if drug is not None else "",
        injected_time=text(drug, "RadiopharmaceuticalStartTime") if drug is not None else "",
        offset=text(dataset, "TimezoneOffsetFromUTC"),
        series=moment(dataset, "SeriesDate", "SeriesTime"),
        ge_scan=private(dataset, GE_PET, 0x0D),
        maker=text(dataset, "Manufacturer"),
    )


def read_moment(dataset: Dataset) -> Moment:
    """Take the times and private factors of one slice."""
    reference, duration = number(dataset, "FrameReferenceTime"), number(dataset, "ActualFrameDuration")
    return Moment(
        acquired=moment(dataset, "AcquisitionDate", "AcquisitionTime"),
        reference_s=None if reference is None else reference / 1000,
        duration_s=None if duration is None else duration / 1000,
        philips_suv=_factor(dataset, 0x00, "(7053,1000)"),
        philips_bqml=_factor(dataset, 0x09, "(7053,1009)"),
    )


def _factor(dataset: Dataset, element: int, name: str) -> float | None:
    value = private(dataset, PHILIPS_PET, element)
    try:
        factor = float(value) if value else 0.0
    except ValueError:
        raise DataError(f"Philips' {name} is not a number", hint="Export again with private tags kept.") from None
    if factor < 0:
        raise DataError(f"Philips' {name} is negative", hint="Export the series again.")
    return factor or None
