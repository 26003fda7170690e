"""What a convolution kernel says of the filter after reconstruction."""

import pandas as pd
import pytest

from radfuse.data.reading.dicom.sharpness import filter_fwhm_mm
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


def test_series_csv_tells_the_filter_where_a_header_does(tmp_path) -> None:
    row = {
        "subject": "S001", "group": "S001", "modality": "PET", "image": "a.nii.gz", "mask": "", "unit": "SUV",
        "slices": 9, "voxel_mm": "4 x 4 x 3", "region": "", "region_ml": "", "manufacturer": "SIEMENS", "model": "m",
    }  # fmt: skip
    write_tables(tmp_path, [row | {"kernel": "XYZ Gauss5.00"}, row | {"subject": "S002", "kernel": "B30f"}], [])
    series = pd.read_csv(tmp_path / "series.csv", keep_default_na=False)
    assert series["filter_fwhm_mm"].tolist() == ["5 x 5 x 5", ""]
    write_tables(tmp_path, [row | {"kernel": "B30f"}], [])
    assert "filter_fwhm_mm" not in pd.read_csv(tmp_path / "series.csv")
