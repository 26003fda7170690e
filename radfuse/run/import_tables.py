"""The tables that an import leaves in a study: manifest, series, subjects with their scanners, what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from radfuse.data.blur import COLUMN, stated_text
from radfuse.data.reading.dicom.instance import FACTS
from radfuse.data.reading.dicom.sharpness import header_fwhm_mm
from radfuse.data.reading.dicom.volumes import NOTES
from radfuse.data.reading.left_out import LeftOut
from radfuse.run.store import write_text

UNKNOWN = "UNKNOWN"
COLUMNS = ("subject", "group", "modality", "image", "mask", "unit", "slices", "voxel_mm", "region", "region_ml")


def write_tables(study: Path, rows: Sequence[Mapping[str, Any]], left: Sequence[LeftOut]) -> tuple[Path, Path]:
    """Write the four tables of an import; give the places of the manifest and of the subjects."""
    table = pd.DataFrame(rows)
    told = [name for name in (*NOTES, *FACTS) if name in table]  # records keep no order of columns
    table = with_blur(table[[*COLUMNS, *told]])
    table, order = in_order(table)
    manifest = table[["subject", "modality", "image", "mask"]].assign(label=1, unit=table["unit"])
    if COLUMN in table:
        manifest = manifest.assign(**{COLUMN: table[COLUMN]})
    write_csv(study / "manifest.csv", manifest)
    write_csv(study / "series.csv", table.drop(columns=["group", "image", "mask"]))
    write_csv(study / "subjects.csv", scanners(table, order))
    write_csv(
        study / "left_out.csv",
        pd.DataFrame([vars(x) for x in left], columns=["subject", "what", "why", "hint", "fault"]),
    )
    return study / "manifest.csv", study / "subjects.csv"


def with_blur(table: pd.DataFrame) -> pd.DataFrame:
    """Add what the headers state of the images' blur; nothing where none does."""
    kernel = table["kernel"].fillna("") if "kernel" in table else pd.Series("", table.index)
    thickness = table.get("slice_thickness_mm", pd.Series(index=table.index, dtype=object))
    thick = pd.to_numeric(thickness, errors="coerce")
    stated = [
        header_fwhm_mm(unit, str(name), None if pd.isna(mm) else float(mm))
        for unit, name, mm in zip(table["unit"], kernel, thick, strict=True)
    ]
    return table.assign(**{COLUMN: [stated_text(each) for each in stated]}) if any(stated) else table


def in_order(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Sort by subject, and modalities so that the one with most regions comes first: a config takes it as reference."""
    masked = (table["mask"] != "").groupby(table["modality"], sort=False).mean()
    order = sorted(masked.index, key=lambda name: -masked[name])
    place = table["modality"].map({name: i for i, name in enumerate(order)})
    return table.assign(place=place).sort_values(["subject", "place"], kind="stable").drop(columns="place"), order


def scanners(table: pd.DataFrame, modalities: Sequence[str]) -> pd.DataFrame:
    """One row per subject: the scanner of each modality, UNKNOWN where the header or the image is missing."""
    out = table.groupby("subject")[["group"]].first()
    if (out.index == out["group"]).all():
        out = out.drop(columns="group")
    for modality in modalities:
        own = table[table["modality"] == modality].set_index("subject")
        for name in ("manufacturer", "model"):
            column = own[name] if name in own else pd.Series(dtype=object)
            out[f"{name}_{modality}"] = column.reindex(out.index).fillna("").str.strip().replace("", UNKNOWN)
        both = (out[f"manufacturer_{modality}"] + " " + out[f"model_{modality}"]).replace(
            f"{UNKNOWN} {UNKNOWN}", UNKNOWN
        )
        out.insert(len(out.columns) - 2, f"scanner_{modality}", both)
    return out.reset_index()


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table, old or whole."""
    write_text(path, table.to_csv(index=False, lineterminator="\n"))
