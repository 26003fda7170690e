"""What a convolution kernel says of the filter after reconstruction."""

from pathlib import Path

import pandas as pd
import pytest

from radfuse.data.blur import COLUMN, Stated, stated_of, stated_text
from radfuse.data.cohort import Cohort, Columns
from radfuse.data.reading.dicom.sharpness import filter_fwhm_mm
from radfuse.data.reading.tables import read_manifest
from radfuse.run.import_tables import write_tables


@pytest.mark.parametrize(
    ("kernel", "fwhm_mm"),
    [
        ("XYZ Gauss2.00", (2.0, 2.0, 2.0)),  # as a Biograph mCT writes it
        ("XYZ G5.0", (5.0, 5.0, 5.0)),
        ("XYZGAUSSIAN4.00", (4.0, 4.0, 4.0)),
        ("XY Gauss 6.0 mm", (6.0, 6.0, 0.0)),
        ("Z G3", (0.0, 0.0, 3.0)),
        ("All-pass", None),
        ("G5.0", None),  # along which axes?
        ("XYZ Gauss0.00", None),
        ("XYZ Gauss500", None),
        ("BOXCAR", None),
        ("BUTTERWORTH 0.5", None),
        ("B30f", None),
        ("STANDARD", None),
        ("", None),
    ],
)
def test_only_a_named_gaussian_is_believed(kernel: str, fwhm_mm: tuple[float, float, float] | None) -> None:
    assert filter_fwhm_mm(kernel) == fwhm_mm


def test_the_manifest_tells_the_blur_where_a_header_does(tmp_path) -> None:
    row = {
        "subject": "S001", "group": "S001", "modality": "PET", "image": "a.nii.gz", "mask": "", "unit": "SUV",
        "slices": 9, "voxel_mm": "4 x 4 x 3", "region": "", "region_ml": "", "manufacturer": "SIEMENS", "model": "m",
    }  # fmt: skip
    thick = {"slice_thickness_mm": 3.0}  # of PET, the distance between slices
    ct = row | {"subject": "S002", "modality": "CT", "unit": "HU", "kernel": "B30f"} | thick
    write_tables(tmp_path, [row | {"kernel": "XYZ Gauss5.00"} | thick, ct, row | {"subject": "S003"} | thick], [])
    manifest = read_manifest(tmp_path / "manifest.csv")
    assert manifest["header_fwhm_mm"].fillna("").tolist() == ["5 x 5 x 5", "- x - x 3", ""]
    cohort = Cohort.assemble(manifest, {}, Columns(), tmp_path)
    assert [scan.header_fwhm_mm for scan in cohort.scans] == [(5.0, 5.0, 5.0), (None, None, 3.0), None]
    write_tables(tmp_path, [row | {"kernel": "B30f"}], [])
    assert "header_fwhm_mm" not in pd.read_csv(tmp_path / "manifest.csv")


@pytest.mark.parametrize("given", ["5 x 5", "wide", "-3", "1 x 2 x inf", "5;5;5"])
def test_a_blur_that_cannot_be_read_is_a_problem_of_its_subject(given: str) -> None:
    manifest = pd.DataFrame(
        {"subject": ["S1"], "modality": "CT", "image": "a.nii.gz", "mask": "m.nii.gz", "label": 1, COLUMN: given}
    )
    problems = Cohort.assemble(manifest, {}, Columns(), Path("/nowhere")).problems
    assert any(each.subject == "S1" and given in each.what and "5 x 5 x 3" in each.what for each in problems)


def test_any_row_of_an_image_may_say_its_blur_and_no_two_may_differ() -> None:
    rows = {"subject": "S1", "modality": "CT", "image": "a.nii.gz", "mask": "m.nii.gz", "label": [1, 2, 3]}
    drawn = pd.DataFrame(rows | {"region": ["tumour", "node", "fat"], COLUMN: ["", "- x - x 3", ""]})
    cohort = Cohort.assemble(drawn, {}, Columns(), Path("/nowhere"))
    assert [scan.header_fwhm_mm for scan in cohort.scans] == [(None, None, 3.0)]
    problems = Cohort.assemble(drawn.assign(**{COLUMN: ["3", "", "4"]}), {}, Columns(), Path("/nowhere")).problems
    assert any("'3 x 3 x 3' in one row and '4 x 4 x 4' in another" in each.what for each in problems)


@pytest.mark.parametrize("widths", [(5.0, 5.0, 3.5), (None, None, 3.0), None])
def test_blur_is_read_as_it_is_written(widths: Stated | None) -> None:
    assert stated_of(stated_text(widths)) == widths
