"""When the dose was given, and the moment that the voxels of a PET series are decay corrected to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median

from radfuse.data.reading.dicom.body import average_moment_s
from radfuse.data.reading.dicom.header import date_time, time_of_day
from radfuse.data.reading.dicom.tracer import Moment, Tracer
from radfuse.errors import DataError

LONG_HALF_LIFE_S = 12 * 3600.0  # beyond it an injection without a date may have been on another day than the scan
SAME_MOMENT_S = 60.0  # two clocks of one department
SAME_START_S = 5.0  # acquisition times are written in whole seconds
SAME_SECOND = timedelta(seconds=1)  # one of the two times is often cut to whole seconds
DAY = timedelta(days=1)


def scan_start(tracer: Tracer, moments: Sequence[Moment]) -> datetime:
    """The moment that DecayCorrection START means: series time, GE's scan time, or told by the frames (Siemens)."""
    if tracer.series is None:
        raise DataError("SeriesDate or SeriesTime (0008,0021/0031) is missing", hint="Fill them in at the source.")
    acquired = [m.acquired for m in moments if m.acquired is not None]
    if len(acquired) < len(moments):
        raise DataError(
            "AcquisitionDate or AcquisitionTime (0008,0022/0032) is missing in some slices, so that SeriesTime "
            "cannot be told from the time of a later reconstruction",
            hint="Fill them in at the source.",
        )
    if tracer.series <= min(acquired) + SAME_SECOND:
        return tracer.series
    if tracer.ge_scan:
        scan = date_time(tracer.ge_scan, "GE's scan time (0009,100d)")
        if scan is not None:
            return scan
    return _from_frames(moments, half_life(tracer))


def _from_frames(moments: Sequence[Moment], half_life_s: float) -> datetime:
    """Count back from the average moment of each bed position by its Frame Reference Time."""
    starts = []
    for each in moments:
        if each.acquired is None or not each.reference_s or not each.duration_s:
            raise DataError(
                "SeriesTime (0008,0031) is after AcquisitionTime (0008,0032), and neither GE's scan time (0009,100d) "
                "nor FrameReferenceTime with ActualFrameDuration tells when the scan began",
                hint="Export the original series; this one was made later and lost the time of its decay correction.",
            )
        offset = average_moment_s(each.duration_s, half_life_s) - each.reference_s
        starts.append(each.acquired + timedelta(seconds=offset))
    middle = starts[0] + timedelta(seconds=median((start - starts[0]).total_seconds() for start in starts))
    spread = max(abs((start - middle).total_seconds()) for start in starts)
    if spread > SAME_START_S:
        raise DataError(
            f"FrameReferenceTime (0054,1300) of the slices tells starts of scan up to {spread:.0f} s apart",
            hint="Export the original series.",
        )
    return middle


def injection(tracer: Tracer, scan: datetime) -> datetime:
    """When the dose was given: the date and time; or the time alone, on the day of the scan or the night before."""
    dated = _dated(tracer)
    try:
        hour = time_of_day(tracer.injected_time) if tracer.injected_time else None
    except ValueError:
        raise DataError("RadiopharmaceuticalStartTime (0018,1072) is not a time") from None
    if dated is not None:
        if hour is not None:
            apart = abs((dated - datetime.combine(dated.date(), datetime.min.time()) - hour).total_seconds())
            if min(apart, abs(apart - 86400)) > SAME_MOMENT_S:
                raise DataError(
                    f"RadiopharmaceuticalStartDateTime and StartTime (0018,1078/1072) are {apart / 60:.0f} min apart",
                    hint="One is in another time zone or wrong: correct it at its source.",
                )
        return dated
    if hour is None:
        raise DataError(
            "RadiopharmaceuticalStartDateTime and StartTime (0018,1078/1072) are missing",
            hint="Fill in when the dose was injected.",
        )
    if half_life(tracer) > LONG_HALF_LIFE_S:
        raise DataError(
            "RadiopharmaceuticalStartDateTime (0018,1078) is missing; with a half-life of "
            f"{half_life(tracer) / 3600:.0f} h the injection need not have been on the day of the scan",
            hint="Fill in the date of the injection.",
        )
    same_day = datetime.combine(scan.date(), datetime.min.time()) + hour
    return same_day if same_day <= scan else same_day - DAY


def _dated(tracer: Tracer) -> datetime | None:
    value = tracer.injected
    offset = value[14:].lstrip(".0123456789") if len(value) > 14 else ""
    if offset.strip() and offset.strip() != tracer.offset and not tracer.injected_time:
        raise DataError(
            "RadiopharmaceuticalStartDateTime (0018,1078) is in a time zone of its own, and the series' zone "
            "TimezoneOffsetFromUTC (0008,0201) is not the same",
            hint="Fill in the time zone, or RadiopharmaceuticalStartTime.",
        )
    return date_time(value, "RadiopharmaceuticalStartDateTime")


def half_life(tracer: Tracer) -> float:
    """The half-life in seconds, or a DataError naming its tag."""
    if not tracer.half_life_s or tracer.half_life_s < 0:
        raise DataError(
            "RadionuclideHalfLife (0018,1075) is missing", hint="Fill in the half-life (s) at its source; F-18: 6586."
        )
    return tracer.half_life_s
