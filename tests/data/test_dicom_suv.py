"""SUV by hand: 70 kg, 370 MBq, one half-life of one hour from injection to scan, unless a test says otherwise."""

import math
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydicom.dataset import Dataset
from synthetic_dicom import header, tracer

from radfuse.data.reading.dicom.body import Body, average_moment_s
from radfuse.data.reading.dicom.suv import suv_factors, uptake_s
from radfuse.data.reading.dicom.tracer import read_moment, read_tracer
from radfuse.errors import DataError

DECAYED = 70_000 / 185e6  # g / Bq after one half-life
AT_INJECTION = 70_000 / 370e6


def pet(private: tuple[tuple[int, str, int, str], ...] = (), **changes: Any) -> Dataset:
    ds = header("PT", "P", "PET", 1)
    tracer(ds, **changes)
    for group, creator, element, value in private:
        ds.private_block(group, creator, create=True).add_new(element, "LO", value)
    return ds


def factor(*slices: Dataset, kind: Any = "bw") -> list[float]:
    return suv_factors(read_tracer(slices[0]), [read_moment(ds) for ds in slices], kind)


def test_activity_at_the_start_of_the_scan_is_divided_by_the_dose_decayed_to_then() -> None:
    assert factor(pet()) == [pytest.approx(DECAYED)]
    assert uptake_s(read_tracer(pet()), [read_moment(pet())]) == 3600


def test_activity_corrected_to_the_injection_is_divided_by_the_whole_dose() -> None:
    assert factor(pet(DecayCorrection="ADMIN")) == [pytest.approx(AT_INJECTION)]


def test_activity_not_corrected_is_divided_by_the_dose_at_each_frames_average_moment() -> None:
    plain = {"DecayCorrection": "NONE", "CorrectedImage": ["ATTN"], "ActualFrameDuration": "600000"}
    first, second = pet(**plain), pet(**plain, AcquisitionTime="120000")
    # 10 min of an isotope of 1 h: the average rate is that of 294.236 s after the start, by its definition below.
    rate = (3600 / math.log(2)) * (1 - 2 ** -(600 / 3600)) / 600
    moment = -math.log2(rate) * 3600
    assert average_moment_s(600, 3600) == pytest.approx(moment)
    assert 290 < moment < 300
    expected = [AT_INJECTION * 2 ** ((3600 + moment) / 3600), AT_INJECTION * 2 ** ((7200 + moment) / 3600)]
    assert factor(first, second) == pytest.approx(expected)


def test_an_injection_before_midnight_is_the_day_before() -> None:
    night = {"SeriesTime": "003000", "AcquisitionTime": "003000", "RadiopharmaceuticalStartDateTime": None}
    assert factor(pet(**night, RadiopharmaceuticalStartTime="233000")) == [pytest.approx(DECAYED)]


def test_a_time_alone_will_not_do_for_a_long_half_life() -> None:
    zirconium = {"RadiopharmaceuticalStartDateTime": None, "RadionuclideHalfLife": "282240"}
    with pytest.raises(DataError, match=r"\(0018,1078\) is missing; with a half-life of 78 h"):
        factor(pet(**zirconium))


def test_a_series_made_later_takes_ges_scan_time() -> None:
    ge = ((0x0009, "GEMS_PETD_01", 0x0D, "20210504110000.00"),)
    assert factor(pet(ge, SeriesTime="180000")) == [pytest.approx(DECAYED)]


def test_a_series_made_later_is_counted_back_from_the_frame_reference_times() -> None:
    """Siemens: two beds, each with its own acquisition and reference time, tell one start: 11:00."""
    beds = []
    for started in (0.0, 300.0):
        reference = started + average_moment_s(120.0, 3600.0)
        time = (datetime(2021, 5, 4, 11) + timedelta(seconds=started)).strftime("%H%M%S")
        beds.append(pet(SeriesTime="180000", AcquisitionTime=time, FrameReferenceTime=f"{reference * 1000:.3f}"))
    assert factor(*beds) == pytest.approx([DECAYED, DECAYED], rel=1e-6)
    beds[1].FrameReferenceTime = "999000"
    with pytest.raises(DataError, match="starts of scan up to"):
        factor(*beds)
    with pytest.raises(DataError, match="nor FrameReferenceTime"):
        factor(pet(SeriesTime="180000", FrameReferenceTime=None))


def test_a_series_time_with_a_fraction_is_not_after_a_time_cut_to_the_second() -> None:
    cut = pet(SeriesTime="110000.75", FrameReferenceTime=None)
    assert factor(cut) == [pytest.approx(DECAYED * 2 ** (0.75 / 3600))]


def test_philips_counts_take_philips_factors() -> None:
    group = "Philips PET Private Group"
    own = ((0x7053, group, 0x00, "0.000551"), (0x7053, group, 0x09, "1.602563"))
    assert factor(pet(own, Units="CNTS")) == [pytest.approx(0.000551)]
    activity = ((0x7053, group, 0x00, "0"), (0x7053, group, 0x09, "1.602563"))
    assert factor(pet(activity, Units="CNTS")) == [pytest.approx(1.602563 * DECAYED)]
    with pytest.raises(DataError, match=r"\(7053,1000\) and \(7053,1009\) are not in every slice"):
        factor(pet(Units="CNTS"))
    with pytest.raises(DataError, match="not in every slice"):
        factor(pet(((0x7053, "SOMEBODY ELSE", 0x00, "0.5"),), Units="CNTS"))


def test_body_sizes_are_the_published_ones() -> None:
    """75 kg, 1.85 m, male, 100 Bq: the unit test of cornerstonejs/calculate-suv (MIT)."""
    body = Body(75.0, 1.85, "M")
    assert body.size("bw") / 100 == 750
    assert body.size("bsa") / 100 == pytest.approx(198.13758427117767)
    assert body.size("lbm_james") / 100 == pytest.approx(627.7757487216948)
    assert body.size("lbm_janma") / 100 == pytest.approx(609.1533588651974)
    # James' own 128: 1.10 x 75 - 128 x (75 / 185)^2 = 82.5 - 21.037 kg; a woman of 60 kg and 1.60 m: 64.2 - 20.8125.
    assert body.size("lbm_james128") == pytest.approx(61_462.8, abs=0.1)
    assert Body(60.0, 1.6, "F").size("lbm_james") == pytest.approx(43_387.5)
    assert Body(60.0, 1.6, "F").size("lbm_janma") == pytest.approx(1000 * 556_200 / (8780 + 244 * 23.4375))


def test_a_real_ge_header_gives_the_factor_worked_out_from_its_numbers() -> None:
    """Header of cornerstonejs/calculate-suv (MIT): 52 kg, 152.02272 MBq at 8:45:00, scan at 9:56:21, F-18."""
    ds = pet(
        SeriesTime="095621",
        AcquisitionTime="095621",
        PatientWeight="52",
        RadionuclideTotalDose="152022720",
        RadionuclideHalfLife="6586.2001953125",
        RadiopharmaceuticalStartTime="084500.00",
        RadiopharmaceuticalStartDateTime="20210504084500.00",
    )
    assert factor(ds) == [pytest.approx(52_000 / (152_022_720 * math.exp(-math.log(2) * 4281 / 6586.2001953125)))]


def test_values_that_are_suv_already_are_kept_or_converted_between_bodies() -> None:
    body = Body(70.0, 1.75, "M")
    assert factor(pet(Units="GML", RadionuclideTotalDose=None)) == [1.0]
    lean = factor(pet(Units="GML", SUVType="BW"), kind="lbm_janma")
    assert lean == [pytest.approx(body.size("lbm_janma") / 70_000)]
    assert factor(pet(Units="GML", SUVType="LBMJANMA"), kind="bw") == [pytest.approx(1 / lean[0])]
    with pytest.raises(DataError, match=r"SUVType \(0054,1006\) is IBW"):
        factor(pet(Units="GML", SUVType="IBW"))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"PatientWeight": None}, r"PatientWeight \(0010,1030\) is missing"),
        ({"PatientWeight": "70000"}, "is it in grams"),
        ({"Units": "PROPCNTS"}, r"Units \(0054,1001\) is PROPCNTS"),
        ({"Units": None}, r"Units \(0054,1001\) is missing"),
        ({"DecayCorrection": None}, r"DecayCorrection \(0054,1102\) is missing"),
        ({"CorrectedImage": ["DECY"]}, "without ATTN"),
        ({"CorrectedImage": ["ATTN"]}, "START, but CorrectedImage .* lacks DECY"),
        ({"DecayCorrection": "NONE"}, "NONE, but CorrectedImage .* contains DECY"),
        ({"RadionuclideTotalDose": None}, r"RadionuclideTotalDose \(0018,1074\) is missing"),
        ({"RadionuclideTotalDose": "370"}, "is 370, expected 100000 to 2e.10 Bq"),
        ({"RadionuclideHalfLife": None}, r"RadionuclideHalfLife \(0018,1075\) is missing"),
        ({"SeriesTime": None}, "SeriesDate or SeriesTime"),
        ({"AcquisitionTime": None}, "AcquisitionDate or AcquisitionTime"),
        (
            {"RadiopharmaceuticalStartTime": None, "RadiopharmaceuticalStartDateTime": None},
            "StartDateTime and StartTime .* are missing",
        ),
        ({"RadiopharmaceuticalStartTime": "090000"}, "are 60 min apart"),
        ({"RadiopharmaceuticalStartDateTime": "20210105100000"}, "contradict|half-lives"),
        (
            {"RadiopharmaceuticalStartDateTime": "20210504123000", "RadiopharmaceuticalStartTime": None},
            "-90 min after the injection",
        ),
        (
            {"RadiopharmaceuticalStartDateTime": "20210504080000+0000", "RadiopharmaceuticalStartTime": None},
            "time zone of its own",
        ),
        ({"RadiopharmaceuticalStartTime": "1x"}, "is not a time"),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_what_is_missing_or_contradictory_is_refused_by_name(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        factor(pet(**changes))
    assert caught.value.hint or "not a time" in caught.value.message


@pytest.mark.parametrize(
    ("body", "kind", "match"),
    [
        (Body(70.0, None, "M"), "bsa", r"PatientSize \(0010,1020\) is missing"),
        (Body(70.0, 175.0, "M"), "bsa", "is it in centimetres"),
        (Body(70.0, 1.75, "O"), "lbm_janma", "neither M nor F"),
        (Body(250.0, 1.40, "F"), "lbm_james", "lean mass of -"),
    ],
)
def test_a_body_that_a_formula_does_not_fit_is_refused(body: Body, kind: Any, match: str) -> None:
    with pytest.raises(DataError, match=match):
        body.size(kind)


def test_two_injections_are_refused() -> None:
    with pytest.raises(DataError, match="has 2 items, expected one"):
        suv_factors(replace(read_tracer(pet()), tracers=2), [read_moment(pet())])
