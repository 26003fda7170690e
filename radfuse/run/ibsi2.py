"""The IBSI 2 reference tests, scored."""

from collections.abc import Iterator
from csv import DictReader
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from radfuse.data.reading.images import read_mask, read_volume
from radfuse.data.volume import Mask, Volume
from radfuse.errors import DataError, GeometryError
from radfuse.extract.ibsi1.conformed import Conformed, Processing, conform
from radfuse.extract.ibsi1.families.intensity import intensity_statistics
from radfuse.extract.ibsi2.cropping import respond_in
from radfuse.extract.ibsi2.filter import Filter
from radfuse.extract.ibsi2.reference_tests import FEATURES, MAP_TOLERANCE, MAPS
from radfuse.extract.native.region import box_of

MAPS_FOLDER = "ibsi2_reference_response_maps"
VALUES_FILE = "ibsi2_reference_feature_values.csv"
PHANTOM = "phantoms/ibsi_2_digital_phantom/nifti/{name}/image/{name}.nii.gz"
CT = "phantoms/ibsi_1_ct_radiomics_phantom/nifti"


@dataclass(frozen=True)
class Row:
    """One comparison.

    Parameters
    ----------
    test : id of the test, such as 3_a_1 (a response map) or 4.B (features of the filtered CT phantom).
    kind : what is compared.
    what : the filter's name for a map, the tag of the statistic for a feature.
    value : for a map the worst difference of a voxel, for a feature its value.
    reference : 0 for a map; NaN where IBSI found no consensus.
    tolerance : how far the value may be from the reference; 1 % of the range of a map.
    passed : whether it is; None where there is nothing to compare with.
    """

    test: str
    kind: Literal["map", "feature"]
    what: str
    value: float
    reference: float
    tolerance: float
    passed: bool | None


def folder_in(data: Path) -> Path | None:
    """Find the reference maps in a folder of data, or in its folder `ibsi`; None where they are in neither."""
    return next((place for place in (data, data / "ibsi") if (place / MAPS_FOLDER).is_dir()), None)


def scorecard(data: Path) -> list[Row]:
    """Score every reference map and value of a folder.

    Parameters
    ----------
    data : the folder `ibsi` of the public data: phantoms, reference maps and values (theibsi/ibsi_2_reference_data,
        theibsi/data_sets).
    """
    return [*map_rows(data), *feature_rows(data)]


def map_ids(data: Path) -> list[str]:
    """List the tests whose reference maps are in the folder."""
    return sorted(path.name.partition("-")[0] for path in (data / MAPS_FOLDER).glob("*-ValidCRM.nii*"))


def map_rows(data: Path) -> Iterator[Row]:
    """Compare every reference map with our response to its phantom; a map of an unknown test fails."""
    tests = map_ids(data)
    if not tests:
        raise DataError(
            f"no reference response maps in {data / MAPS_FOLDER}",
            hint="Get them from github.com/theibsi/ibsi_2_reference_data.",
        )
    return (map_row(data, test) for test in tests)


def map_row(data: Path, test: str) -> Row:
    """Compare one reference map."""
    path = next((data / MAPS_FOLDER).glob(f"{test}-ValidCRM.nii*"), None)
    if path is None:
        raise DataError(f"no reference response map of {test} in {data / MAPS_FOLDER}")
    reference = read_volume(path, "reference", "a.u.")
    tolerance = MAP_TOLERANCE * float(np.ptp(reference.array))
    if test not in MAPS:
        return Row(test, "map", "unknown test", float("nan"), 0.0, tolerance, False)
    setting = MAPS[test]
    phantom = read_volume(data / PHANTOM.format(name=setting.phantom), "phantom", "a.u.")
    if not phantom.geometry.matches(reference.geometry):
        raise GeometryError(f"{path} is not on its phantom's grid: {phantom.geometry.differences(reference.geometry)}")
    response = setting.filter.build()(phantom.array.astype(np.float64), phantom.geometry.spacing_mm)
    worst = float(np.abs(response - reference.array).max())
    return Row(test, "map", setting.filter.name, worst, 0.0, tolerance, worst <= tolerance)


def feature_rows(data: Path) -> Iterator[Row]:
    """Compare every reference value; a value of an unknown filter or statistic fails."""
    with (data / VALUES_FILE).open(newline="") as file:
        wanted = list(DictReader(file))
    volume = read_volume(data / CT / "image/phantom.nii.gz", "CT", "HU")
    mask = read_mask(data / CT / "mask/mask.nii.gz")
    asked = {test: FEATURES[test] for test in sorted({line["filter_id"] for line in wanted} & set(FEATURES))}
    found = {
        **features_of(volume, mask, {test: f for test, f in asked.items() if test.endswith("A")}, spacing_mm=None),
        **features_of(volume, mask, {test: f for test, f in asked.items() if test.endswith("B")}, spacing_mm=1.0),
    }
    for line in wanted:
        test, tag = line["filter_id"], line["feature_tag"]
        value = found.get(test, {}).get(tag, float("nan"))
        reference, tolerance = (float(line[column] or "nan") for column in ("consensus_value", "tolerance"))
        agreed = None if np.isnan(reference) else bool(abs(value - reference) <= tolerance)
        yield Row(test, "feature", tag, value, reference, tolerance, agreed)


def features_of(
    volume: Volume, mask: Mask, filters: dict[str, Filter | None], *, spacing_mm: float | None
) -> dict[str, dict[str, float]]:
    """Give the 18 statistics of each filter's response to the CT phantom, processed as in phase 2.

    Parameters
    ----------
    volume : HU; rounded to whole numbers before anything else [IBSI 1 manual, image interpolation].
    filters : by a name; none is the image itself.
    spacing_mm : voxels to interpolate to by a cubic spline; None keeps the grid.
    """
    processing = Processing(
        spacing_mm=None if spacing_mm is None else (spacing_mm,) * 3,
        interpolator="bspline",
        rounding=True,
        resegment=(-1000.0, 400.0),
    )
    conformed = conform(volume.with_array(volume.array.round()), mask, processing, around_mm=np.inf)
    return {name: _statistics(conformed, chosen) for name, chosen in filters.items()}


def _statistics(conformed: Conformed, chosen: Filter | None) -> dict[str, float]:
    values = conformed.values
    if chosen is not None:
        box = box_of(conformed.intensity)
        response = respond_in(box, chosen, conformed.image, conformed.geometry.spacing_mm)
        values = response[conformed.intensity[box]]
    return {f"stat_{name}": value for name, value in intensity_statistics(values).items()}
