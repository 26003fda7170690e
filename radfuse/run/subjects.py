"""Put subjects into the run folder and take them out again."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from radfuse.data.cohort import Scan
from radfuse.data.modality import unit_of
from radfuse.data.reading.images import read_mask, read_volume, write_mask, write_volume
from radfuse.data.row import FeatureRow
from radfuse.data.subject import Subject
from radfuse.data.transform import Transform
from radfuse.data.volume import transform_to_sitk
from radfuse.run.store import Store, write, write_text

IMAGE, MASK, MATCHED, TRANSFORM = ".nii.gz", ".mask.nii.gz", ".matched.nii.gz", ".tfm"
CONTENTS = "subject.json"
ROW = "row.parquet"


def from_files(subject: str, scans: Iterable[Scan]) -> Subject:
    """Read a subject's scans as the manifest names them."""
    volumes, masks = {}, {}
    for scan in scans:
        try:
            volumes[scan.modality] = read_volume(scan.image, scan.modality, unit_of(scan.modality))
            if scan.mask is not None:
                masks[scan.modality] = read_mask(scan.mask, scan.label)
        except Exception as error:
            error.add_note(f"while reading the {scan.modality} scan of {subject}")
            raise
    return Subject(subject, volumes, masks)


def save_aligned(folder: Path, subject: Subject) -> list[str]:
    """Write volumes, fusion inputs, regions and transforms; give the names of the files."""
    files = [*_save_volumes(folder, subject, subject.volumes)]
    for name, volume in subject.matched.items():
        write_volume(folder / f"{name}{MATCHED}", volume)
        files.append(f"{name}{MATCHED}")
    for name, transform in subject.transforms.items():
        _write_transform(folder / f"{name}{TRANSFORM}", transform)
        files.append(f"{name}{TRANSFORM}")
    contents = _contents(subject, subject.volumes) | {
        "matched": sorted(subject.matched),
        "transforms": {name: transform.matrix for name, transform in subject.transforms.items()},
    }
    write_text(folder / CONTENTS, json.dumps(contents, indent=1, sort_keys=True) + "\n")
    return [*files, CONTENTS]


def save_fused(folder: Path, before: Subject, after: Subject) -> list[str]:
    """Write the volumes that fusing added; their regions are those of align."""
    fresh = {name: volume for name, volume in after.volumes.items() if name not in before.volumes}
    files = []
    for name, volume in fresh.items():
        write_volume(folder / f"{name}{IMAGE}", volume)
        files.append(f"{name}{IMAGE}")
    regions = {name: _same_region(before, after, name) for name in fresh}
    contents = _contents(after, fresh) | {"regions": regions}
    write_text(folder / CONTENTS, json.dumps(contents, indent=1, sort_keys=True) + "\n")
    return [*files, CONTENTS]


def load_aligned(store: Store, subject: str) -> Subject:
    """Read what align wrote."""
    folder = store.folder("align", subject)
    contents = json.loads((folder / CONTENTS).read_text(encoding="utf-8"))
    volumes = {name: read_volume(folder / f"{name}{IMAGE}", name, unit) for name, unit in contents["units"].items()}
    masks = {name: read_mask(folder / f"{name}{MASK}", label) for name, label in contents["labels"].items()}
    matched = {
        name: read_volume(folder / f"{name}{MATCHED}", name, contents["units"][name]) for name in contents["matched"]
    }
    transforms = {name: Transform.from_array(matrix) for name, matrix in contents["transforms"].items()}
    return Subject(subject, volumes, masks, matched, transforms)


def load_fused(store: Store, aligned: Subject) -> Subject:
    """Add what fuse wrote to an aligned subject."""
    folder = store.folder("fuse", aligned.id)
    contents = json.loads((folder / CONTENTS).read_text(encoding="utf-8"))
    volumes = {name: read_volume(folder / f"{name}{IMAGE}", name, unit) for name, unit in contents["units"].items()}
    masks = {name: aligned.masks[region] for name, region in contents["regions"].items()}
    return replace(aligned, volumes={**aligned.volumes, **volumes}, masks={**aligned.masks, **masks})


def save_row(folder: Path, row: FeatureRow) -> list[str]:
    """Write one subject's features, diagnostics and problems."""
    names = list(row.values)
    table = pd.DataFrame(
        {
            "column": names,
            "value": [float(row.values[n]) for n in names],
            "problem": [row.problems.get(n) for n in names],
        }
    ).astype({"problem": "string"})
    write(folder / ROW, lambda path: table.to_parquet(path, index=False))
    write_text(folder / "diagnostics.json", json.dumps(dict(row.diagnostics), indent=1, sort_keys=True) + "\n")
    return [ROW, "diagnostics.json"]


def load_row(folder: Path, subject: str) -> FeatureRow:
    """Read one subject's features."""
    table = pd.read_parquet(folder / ROW)
    problems = table.dropna(subset=["problem"])
    return FeatureRow(
        subject,
        dict(zip(table["column"], table["value"], strict=True)),
        json.loads((folder / "diagnostics.json").read_text(encoding="utf-8")),
        dict(zip(problems["column"], problems["problem"], strict=True)),
    )


def feature_values(rows: Sequence[FeatureRow]) -> pd.DataFrame:
    """Stack rows; every subject gets every column, empty where it has no value."""
    columns = list(dict.fromkeys(name for row in rows for name in row.values))
    index = pd.Index([row.subject for row in rows], name="subject", dtype="object")
    return pd.DataFrame([dict(row.values) for row in rows], index=index, columns=columns, dtype="float64")


def write_rows(
    output: Path, diagnostics: Path, rows: Sequence[FeatureRow], index: pd.Index | None = None
) -> pd.DataFrame:
    """Write the rows' features as CSV with a Parquet file beside it, and their diagnostics; give the features.

    Parameters
    ----------
    index : the subjects, row for row; by default those of the rows.
    """
    values = feature_values(rows)
    if index is not None:
        values = values.set_axis(index)
    write(output.with_suffix(".parquet"), lambda path: values.to_parquet(path))
    write(output, lambda path: values.to_csv(path))
    found = pd.DataFrame([dict(row.diagnostics) for row in rows], index=values.index)
    write(diagnostics, lambda path: found.to_csv(path))
    return values


def _save_volumes(folder: Path, subject: Subject, volumes: Iterable[str]) -> Iterable[str]:
    for name in volumes:
        write_volume(folder / f"{name}{IMAGE}", subject.volumes[name])
        yield f"{name}{IMAGE}"
        if name in subject.masks:
            write_mask(folder / f"{name}{MASK}", subject.masks[name])
            yield f"{name}{MASK}"


def _contents(subject: Subject, volumes: Iterable[str]) -> dict[str, Any]:
    return {
        "units": {name: subject.volumes[name].unit for name in volumes},
        "labels": {name: subject.masks[name].label for name in volumes if name in subject.masks},
    }


def _same_region(before: Subject, after: Subject, name: str) -> str:
    for candidate, mask in before.masks.items():
        if mask is after.masks[name]:
            return candidate
    raise ValueError(f"the region of {name} is none of the aligned regions {sorted(before.masks)}")


def _write_transform(path: Path, transform: Transform) -> None:
    import SimpleITK as sitk

    write(path, lambda temporary: sitk.WriteTransform(transform_to_sitk(transform), str(temporary)))
