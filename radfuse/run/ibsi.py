"""The IBSI scorecard: radfuse's own numbers beside the reference values of the two manuals."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import radfuse
from radfuse.data.reading.images import read_mask, read_volume
from radfuse.data.volume import Mask, Volume
from radfuse.errors import ConfigError
from radfuse.extract.ibsi1.benchmark import CONFIGURATIONS, Configuration, agrees, digital_phantom
from radfuse.extract.ibsi1.catalogue import features, split_tag
from radfuse.run import ibsi2
from radfuse.run.store import write

REFERENCE = Path(radfuse.__file__).parent / "extract" / "ibsi1" / "reference_values.csv"
PROCESSING = "image processing"
SOURCE = "https://github.com/theibsi/data_sets (folder ibsi_1_ct_radiomics_phantom, CC BY-NC 3.0)"

# Where the CT phantom lies under a folder of data: as cloned, in a folder of the IBSI's, or in one of much data.
PLACES = ("", *(f"{folder}ibsi_1_ct_radiomics_phantom" for folder in ("", "phantoms/", "ibsi/phantoms/")))
IMAGE, MASK = Path("nifti/image/phantom.nii.gz"), Path("nifti/mask/mask.nii.gz")


@dataclass(frozen=True)
class Scorecard:
    """Every compared value.

    Parameters
    ----------
    rows : of IBSI-1: configuration, family, tag, code, column, in_pyradiomics, value, reference, tolerance, passed,
        rounded; ``rounded`` where a value agrees only after rounding to three figures.
    left_out : why configurations were not run; empty when all were.
    filters : of IBSI-2: response maps and features of filtered images, see `radfuse.run.ibsi2.Row`; empty where the
        reference maps are not at hand.
    """

    rows: pd.DataFrame
    left_out: str
    filters: tuple[ibsi2.Row, ...] = ()

    @property
    def failed(self) -> pd.DataFrame:
        """Rows that do not agree."""
        return self.rows[~self.rows["passed"]]

    def summary(self) -> pd.DataFrame:
        """Count passed, compared and rounded by family and configuration, in the manual's order."""
        grouped = self.rows.groupby(["family", "configuration"], sort=False)
        return grouped.agg(
            passed=("passed", "sum"), compared=("passed", "size"), rounded=("rounded", "sum")
        ).reset_index()

    def total(self, *, in_pyradiomics: bool | None = None) -> tuple[int, int, int]:
        """Count passed, compared and rounded: of all values, or of features that PyRadiomics has, or has not."""
        rows = self.rows
        if in_pyradiomics is not None:
            rows = rows[(rows["in_pyradiomics"] == in_pyradiomics) & (rows["family"] != PROCESSING)]
        return int(rows["passed"].sum()), len(rows), int(rows["rounded"].sum())


def score(data: Path | None = None) -> Scorecard:
    """Measure the phantoms and compare.

    Parameters
    ----------
    data : folder with the CT phantom; None: RADFUSE_DATA where it is set, else the digital phantom alone.
    """
    reference = reference_values()
    phantom, left_out = _ct_phantom(data)
    rows: list[dict[str, object]] = []
    for configuration in CONFIGURATIONS:
        if configuration.on_ct:
            if phantom is not None:
                rows += _compare(configuration, *phantom, reference)
        else:
            rows += _compare(configuration, *digital_phantom(), reference)
    maps = ibsi2.folder_in(_folder(data))
    return Scorecard(pd.DataFrame(rows), left_out, () if maps is None else tuple(ibsi2.scorecard(maps)))


def reference_values() -> pd.DataFrame:
    """Read the manual's values and tolerances: a row per tag, columns A and A_tolerance and so on."""
    return pd.read_csv(REFERENCE, comment="#", index_col="tag")


def write_scorecard(path: Path, card: Scorecard) -> None:
    """Write every row as CSV, IBSI-2 after IBSI-1."""
    filters = pd.DataFrame([vars(row) for row in card.filters]).rename(
        columns={"test": "configuration", "kind": "family", "what": "tag"}
    )
    rows = pd.concat([card.rows, filters], ignore_index=True) if card.filters else card.rows
    write(path, lambda temporary: rows.to_csv(temporary, index=False))


def _folder(data: Path | None) -> Path:
    return data if data is not None else Path(os.environ.get("RADFUSE_DATA", ""))


def _ct_phantom(data: Path | None) -> tuple[tuple[Volume, Mask] | None, str]:
    given = _folder(data)
    if data is None and not os.environ.get("RADFUSE_DATA"):
        return None, f"configurations A to E were not run: give --data, a folder with the CT phantom from {SOURCE}"
    for place in PLACES:
        if (given / place / IMAGE).is_file() and (given / place / MASK).is_file():
            volume = read_volume(given / place / IMAGE, "CT", "HU")
            # The manual has NIfTI intensities rounded to whole numbers before anything else (5.2).
            return (volume.with_array(volume.array.round()), read_mask(given / place / MASK)), ""
    if data is None:
        return None, f"configurations A to E were not run: RADFUSE_DATA has no CT phantom; get it from {SOURCE}"
    raise ConfigError(f"{data} holds no CT phantom: {IMAGE} and {MASK} are not there", hint=f"Get it from {SOURCE}.")


def _compare(
    configuration: Configuration, volume: Volume, mask: Mask, reference: pd.DataFrame
) -> Iterator[dict[str, object]]:
    name = configuration.name
    wanted: Mapping[str, tuple[float, float]] = {
        str(tag): (float(row[name]), float(row[f"{name}_tolerance"]))
        for tag, row in reference.dropna(subset=[name]).iterrows()
    }
    found = configuration.measure(volume, mask)
    if configuration.on_ct:
        found |= {tag: ("", value) for tag, value in configuration.processed(volume, mask).items()}
    known = features()
    for tag, (expected, tolerance) in wanted.items():
        column, value = found.get(tag, ("", float("nan")))
        passed, rounded = agrees(value, expected, tolerance)
        feature = known.get(split_tag(tag)[0])
        yield {
            "configuration": name,
            "family": PROCESSING if feature is None else feature.family,
            "tag": tag,
            "code": "" if feature is None else feature.code,
            "column": column,
            "in_pyradiomics": feature is not None and configuration.in_pyradiomics(feature, tag),
            "value": value,
            "reference": expected,
            "tolerance": tolerance,
            "passed": passed,
            "rounded": rounded,
        }
