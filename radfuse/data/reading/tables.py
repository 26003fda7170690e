"""Read the manifest, the clinical tables and feature tables: the only file that parses CSV and Parquet tables."""

from pathlib import Path

import pandas as pd

from radfuse.data.region import label_text, labels_of
from radfuse.errors import CohortError, ConfigError

# PyRadiomics' own names, and those other tools write; compared without case.
ALIASES = {
    "subject": ("subject", "id", "subject_id", "patient_id", "patientid", "patient"),
    "modality": ("modality",),
    "image": ("image", "image_path"),
    "mask": ("mask", "mask_path", "segmentation"),
    "label": ("label",),
    "region": ("region", "roi"),
}
DEFAULT_MODALITY = "image"


def read_table(path: Path, key: str = "subject") -> pd.DataFrame:
    """Read a CSV or Parquet table and index it by subject (text, as written: 007 stays 007).

    Columns other than the key keep the type pandas finds. ``ID``, ``patient_id`` and the like are accepted for the
    key. Raises CohortError when the file or the key is not there.
    """
    if not path.is_file():
        raise CohortError(f"table not found: {path}", hint="In a config, paths are relative to cohort.root.")
    if path.suffix == ".parquet":
        table = pd.read_parquet(path)
        table = table.reset_index() if table.index.name else table
    else:
        names = _header(path)
        text = {name: str for name in names if name.lower() in ALIASES["subject"]}
        try:
            table = pd.read_csv(path, dtype=text, encoding="utf-8-sig")
        except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise CohortError(f"cannot read {path} as a CSV table: {error}") from error
    found = _column(table, key)
    if found is None:
        raise CohortError(
            f"{path} has no column {key!r}; found {', '.join(map(str, table.columns[:12]))}",
            hint=f"Name the subject column one of {', '.join(ALIASES[key])}.",
        )
    if table.empty:
        raise CohortError(f"{path} has no rows")
    if table[found].isna().any():
        raise CohortError(f"{path}: row {int(table[found].isna().argmax()) + 2} has no {found}")
    return table.rename(columns={found: key}).assign(**{key: table[found].astype(str).str.strip()}).set_index(key)


def read_manifest(path: Path) -> pd.DataFrame:
    """Read the long manifest: columns subject, modality, image, mask, label, then any further columns.

    PyRadiomics' ``ID, Image, Mask, Label`` are accepted. Without a modality column every image is ``image``;
    without a label column the region is label 1; a mask that is not given is empty text. A label may be a union
    (``1+2``) or ``all``. A column ``region`` (or ``roi``) names the regions, one row for each region of an image.
    """
    table = read_table(path).reset_index()
    renames = {}
    for name in ("modality", "image", "mask", "label", "region"):
        found = _column(table, name)
        if found is not None:
            renames[found] = name
    table = table.rename(columns=renames)
    if "image" not in table:
        raise CohortError(
            f"{path} has no column 'image'; found {', '.join(map(str, table.columns))}",
            hint="A manifest has one row per image: subject, modality, image, mask.",
        )
    table["modality"] = table["modality"].astype(str).str.strip() if "modality" in table else DEFAULT_MODALITY
    table["image"] = table["image"].astype(object).fillna("").astype(str)
    table["mask"] = table["mask"].astype(object).fillna("").astype(str) if "mask" in table else ""
    table["label"] = _labels(table["label"], path) if "label" in table else 1
    first = ["subject", "modality", "image", "mask", "label"]
    if "region" in table:
        table["region"] = table["region"].astype(object).fillna("").astype(str).str.strip()
        first.append("region")
    return table[first + [column for column in table.columns if column not in first]]


def _labels(column: pd.Series, path: Path) -> pd.Series:
    """Whole numbers where every row names one label, else text such as ``1+2``; empty is label 1."""
    try:
        found = [labels_of(1 if pd.isna(value) or value == "" else value) for value in column.tolist()]
    except ConfigError as error:
        raise CohortError(f"{path}: {error.message}") from error
    if all(len(labels) == 1 for labels in found):
        return pd.Series([labels[0] for labels in found], index=column.index, dtype=int)
    return pd.Series([label_text(labels) for labels in found], index=column.index, dtype=object)


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return [name.strip().strip('"') for name in file.readline().rstrip("\r\n").split(",")]


def _column(table: pd.DataFrame, name: str) -> str | None:
    """Find a column by its name or, failing that, by the first alias that is there."""
    present = {str(column).strip().lower(): str(column) for column in reversed(table.columns)}
    return next((present[alias] for alias in ALIASES[name] if alias in present), None)
