"""Put subjects into the run folder and take them out again."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from radfuse.data.cohort import Scan
from radfuse.data.deformation import Deformation, Motion
from radfuse.data.geometry import Geometry
from radfuse.data.modality import unit_of
from radfuse.data.reading.images import (
    label_missing,
    read_label_map,
    read_mask,
    read_volume,
    write_mask,
    write_volume,
)
from radfuse.data.region import label_text
from radfuse.data.row import FeatureRow
from radfuse.data.subject import Subject
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask, field_to_sitk, transform_to_sitk
from radfuse.run.store import Store, write, write_text

IMAGE, MASK, MATCHED, TRANSFORM = ".nii.gz", ".mask.nii.gz", ".matched.nii.gz", ".tfm"
FIELD, SEEN = ".field.nii.gz", ".seen.nii.gz"
CONTENTS = "subject.json"
SCANS = "scans"
NO_FILES: Mapping[str, str] = MappingProxyType({})
ROW = "row.parquet"


def from_files(subject: str, scans: Iterable[Scan]) -> Subject:
    """Read a subject's scans as the manifest names them."""
    volumes, masks = {}, {}
    regions: dict[str, dict[str, Mask]] = {}
    why: dict[str, list[str]] = {}
    for scan in scans:
        try:
            volume = read_volume(scan.image, scan.modality, unit_of(scan.modality))
            volumes[scan.modality] = replace(volume, header_fwhm_mm=scan.header_fwhm_mm)
            main, further = read_outlines(scan)
        except Exception as error:
            error.add_note(f"while reading the {scan.modality} scan of {subject}")
            raise
        if main is not None:
            masks[scan.modality] = main
        for region, found in further.items():
            own = regions.setdefault(region, {})
            if isinstance(found, Mask):
                own[scan.modality] = found
            else:
                why.setdefault(region, []).append(found)
    absent = {region: "; ".join(dict.fromkeys(why[region])) for region, own in regions.items() if not own}
    return Subject(subject, volumes, masks, regions={r: own for r, own in regions.items() if own}, absent=absent)


def read_outlines(scan: Scan) -> tuple[Mask | None, dict[str, Mask | str]]:
    """Read what is drawn on an image: the main region, and each further one or why it is not there.

    Each file is read once. The main region has to be in its mask; a patient may well lack a further one.
    """
    maps = {path: read_label_map(path) for path in dict.fromkeys(path for path, _ in scan.drawn)}
    main = None
    if scan.mask is not None:
        main = maps[scan.mask].of(scan.labels)
        if not main.voxels:
            raise label_missing(scan.mask, maps[scan.mask], scan.labels)
    further: dict[str, Mask | str] = {}
    for each in scan.further:
        if each.mask is None:
            further[each.region] = f"{each.region} is not drawn"
            continue
        mask = maps[each.mask].of(each.labels)
        missing = f"{each.region}: no voxel of label {label_text(each.labels)} in {each.mask.name}"
        further[each.region] = mask if mask.voxels else missing
    return main, further


def save_aligned(folder: Path, subject: Subject, scans: Mapping[str, str] = NO_FILES) -> list[str]:
    """Write volumes, fusion inputs, regions and transforms; give the names of the files.

    Parameters
    ----------
    scans : SHA-256 of the file of each modality's scan, which tells later whose images these are.
    """
    files = [*_save_volumes(folder, subject, subject.volumes)]
    for name, volume in subject.matched.items():
        write_volume(folder / f"{name}{MATCHED}", volume)
        files.append(f"{name}{MATCHED}")
    contents = _contents(subject, subject.volumes) | {"matched": sorted(subject.matched), "transforms": {}}
    contents[SCANS] = dict(scans)
    for name, motion in subject.transforms.items():
        linear = motion if isinstance(motion, Transform) else motion.linear
        contents["transforms"][name] = linear.matrix
        _write_transform(folder / f"{name}{TRANSFORM}", linear)
        files.append(f"{name}{TRANSFORM}")
        if isinstance(motion, Deformation):
            # As other tools read it: the field is applied first, then the .tfm beside it.
            _write_field(folder / f"{name}{FIELD}", motion)
            files.append(f"{name}{FIELD}")
            contents.setdefault("fields", {})[name] = asdict(motion.grid)
    for name, mask in subject.seen.items():
        write_mask(folder / f"{name}{SEEN}", mask)
        files.append(f"{name}{SEEN}")
    contents["seen"] = sorted(subject.seen)
    if subject.regions or subject.absent:
        files += _save_regions(folder, subject)
        contents["further"] = {region: list(own) for region, own in subject.regions.items()}
        contents["absent"] = dict(subject.absent)
    write_text(folder / CONTENTS, json.dumps(contents, indent=1, sort_keys=True) + "\n")
    return [*files, CONTENTS]


def save_fused(folder: Path, before: Subject, after: Subject) -> list[str]:
    """Write the volumes that fusing added; their regions and fields of view follow from those of align."""
    fresh = {name: volume for name, volume in after.volumes.items() if name not in before.volumes}
    files = []
    for name, volume in fresh.items():
        write_volume(folder / f"{name}{IMAGE}", volume)
        files.append(f"{name}{IMAGE}")
    regions = {name: _same_region(before, after, name) for name in fresh}
    inputs = {name: after.findings["fuse"]["fused"][name]["inputs"] for name in fresh}
    contents = _contents(after, fresh) | {"regions": regions, "inputs": inputs}
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
    transforms = {name: _motion(folder, name, contents) for name in contents["transforms"]}
    further = {
        region: {name: read_mask(folder / f"{name}.{region}{MASK}") for name in names}
        for region, names in contents.get("further", {}).items()
    }
    seen = {name: read_mask(folder / f"{name}{SEEN}") for name in contents["seen"]}
    absent = contents.get("absent", {})
    return Subject(subject, volumes, masks, matched, transforms, regions=further, absent=absent, seen=seen)


def load_fused(store: Store, aligned: Subject) -> Subject:
    """Add what fuse wrote to an aligned subject."""
    folder = store.folder("fuse", aligned.id)
    contents = json.loads((folder / CONTENTS).read_text(encoding="utf-8"))
    volumes = {name: read_volume(folder / f"{name}{IMAGE}", name, unit) for name, unit in contents["units"].items()}
    source = contents["regions"]
    masks = {name: aligned.masks[part] for name, part in source.items()}
    regions = {
        region: {**own, **{name: own[part] for name, part in source.items() if part in own}}
        for region, own in aligned.regions.items()
    }
    shared = {name: aligned.seen_by_all(parts) for name, parts in contents["inputs"].items()}
    return replace(
        aligned,
        volumes={**aligned.volumes, **volumes},
        masks={**aligned.masks, **masks},
        regions=regions,
        seen={**aligned.seen, **{name: view for name, view in shared.items() if view is not None}},
    )


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


def _save_regions(folder: Path, subject: Subject) -> Iterable[str]:
    for region, own in subject.regions.items():
        for name, mask in own.items():
            write_mask(folder / f"{name}.{region}{MASK}", mask)
            yield f"{name}.{region}{MASK}"


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


def _write_field(path: Path, motion: Deformation) -> None:
    import SimpleITK as sitk

    write(path, lambda temporary: sitk.WriteImage(field_to_sitk(motion), str(temporary)))


def _motion(folder: Path, name: str, contents: dict[str, Any]) -> Motion:
    import SimpleITK as sitk

    linear = Transform.from_array(contents["transforms"][name])
    grid = contents.get("fields", {}).get(name)
    if grid is None:
        return linear
    field = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"{name}{FIELD}")))
    # The grid comes from the JSON: NIfTI rounds places to float32.
    return Deformation(linear, field, Geometry(**{key: tuple(value) for key, value in grid.items()}))
