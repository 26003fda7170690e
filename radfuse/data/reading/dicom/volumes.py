"""Volumes out of series: CT in Hounsfield units, PET in SUV, SPECT in SUV or counts, MR as it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from radfuse.data.geometry import Geometry
from radfuse.data.reading.dicom.body import Kind
from radfuse.data.reading.dicom.files import File
from radfuse.data.reading.dicom.header import quietly, read_dataset
from radfuse.data.reading.dicom.planes import grid_of
from radfuse.data.reading.dicom.series import Series
from radfuse.data.reading.dicom.suv import suv_factors, uptake_s
from radfuse.data.volume import Volume
from radfuse.errors import DataError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

NOTES = ("suv", "units", "decay_correction", "uptake_min", "why_counts")


@dataclass(frozen=True)
class Recipe:
    """How a series becomes a volume: decided from the headers alone.

    Parameters
    ----------
    series : the images.
    order : for each slice of the volume, the instance and the frame of it.
    grid : where the voxels are.
    slopes, intercepts : for each slice, value = stored x slope + intercept, in the unit.
    unit : HU, SUV, counts or a.u.
    notes : what a reader of the record should know, such as the uptake time.
    """

    series: Series
    order: tuple[tuple[int, int], ...]
    grid: Geometry
    slopes: tuple[float, ...]
    intercepts: tuple[float, ...]
    unit: str
    notes: dict[str, float | str]


def plan_volume(series: Series, suv: Kind = "bw", *, calibrated: bool = True) -> Recipe:
    """Judge a series by its headers: one regular grid, known units; or a DataError that names what is wrong.

    Parameters
    ----------
    series : CT, MR, PT or NM.
    suv : what uptake is divided by.
    calibrated : whether a SPECT that carries a calibration becomes SUV; else counts.
    """
    for instance in series.instances:
        if instance.broken is not None:
            raise instance.broken
    check_syntax(series)
    frames = [(i, f) for i, instance in enumerate(series.instances) for f in range(len(instance.planes))]
    if not any(len(instance.planes) > 1 for instance in series.instances):
        _check_uids(series)
    order, grid = grid_of([series.instances[i].planes[f] for i, f in frames])
    chosen = tuple(frames[k] for k in order)
    scales = [series.instances[i].scales[f] for i, f in chosen]
    given = sum(scale.slope is not None for scale in scales)
    if 0 < given < len(scales):
        raise DataError(
            f"mixed rescale: RescaleSlope (0028,1053) is in {given} of {len(scales)} slices",
            hint="Export the series again; the slices come from different conversions.",
        )
    if any(scale.slope == 0 for scale in scales):
        raise DataError("RescaleSlope (0028,1053) is 0", hint="Export the series again.")
    plain = Recipe(
        series,
        chosen,
        grid,
        tuple(1.0 if scale.slope is None else scale.slope for scale in scales),
        tuple(scale.intercept or 0.0 for scale in scales),
        "a.u.",
        {},
    )
    if series.kind == "MR":
        return plain
    if series.kind == "CT":
        return _hounsfield(plain, rescaled=bool(given))
    if series.kind == "NM":
        return _spect(plain, suv, calibrated=calibrated)
    if not given:
        raise DataError("RescaleSlope (0028,1053) is missing in a PET series", hint="Export the series again.")
    return _suv(plain, suv)


def read_volume(recipe: Recipe, modality: str) -> Volume:
    """Read the pixels and apply the recipe.

    Whole numbers stay int16 where they fit (CT, MR); everything else is float32, computed in double precision.
    """
    wanted: dict[int, list[tuple[int, int]]] = {}
    for slice_, (i, frame) in enumerate(recipe.order):
        wanted.setdefault(i, []).append((slice_, frame))
    whole = recipe.unit in ("HU", "a.u.") and all(
        float(value).is_integer() for value in (*recipe.slopes, *recipe.intercepts)
    )
    out = np.empty(recipe.grid.shape, dtype=np.int64 if whole else np.float64)
    for i, slices in wanted.items():
        stored = _stored(recipe.series.instances[i].file)
        for slice_, frame in slices:
            if whole and stored.dtype.kind in "iu":
                out[slice_] = stored[frame].astype(np.int64) * int(recipe.slopes[slice_]) + int(
                    recipe.intercepts[slice_]
                )
            else:
                out[slice_] = stored[frame] * recipe.slopes[slice_] + recipe.intercepts[slice_]
    return Volume(_smallest(out), recipe.grid, modality, recipe.unit)


def check_syntax(series: Series) -> None:
    """Refuse a compression that no installed decoder reads, naming what to install."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    for syntax in sorted({instance.syntax for instance in series.instances}):
        if not syntax:
            raise DataError("TransferSyntaxUID (0002,0010) is missing", hint="Export the series again.")
        with quietly():
            uid = UID(syntax)
            name = uid.name if uid.name != syntax else "an unknown transfer syntax"
            try:
                readable = not uid.is_encapsulated or get_decoder(uid).is_available
            except (NotImplementedError, ValueError):
                readable = False
        if not readable:
            raise DataError(
                f"the pixels are compressed as {name}, which nothing installed decodes",
                hint="pip install python-gdcm, or export the series uncompressed.",
            )


def _stored(file: File) -> npt.NDArray[Any]:
    """The stored pixels, (frames, rows, columns)."""
    dataset = read_dataset(file, pixels=True)
    try:
        with quietly():
            pixels = _pixels(dataset)
    except Exception as error:  # decoders raise what they like; their text may quote the file
        raise DataError(
            f"the pixels of a slice cannot be decoded ({type(error).__name__})",
            hint="Copy or export the series again; a file may be cut short.",
        ) from None
    return pixels if pixels.ndim == 3 else pixels[np.newaxis]


def _pixels(dataset: Dataset) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = dataset.pixel_array
    return array


def _hounsfield(recipe: Recipe, *, rescaled: bool) -> Recipe:
    if not rescaled:
        raise DataError(
            "RescaleSlope and RescaleIntercept (0028,1053/1052) are missing in a CT series: its unit is unknown",
            hint="Export the series again.",
        )
    # US is "unspecified", and what GDCM and ITK write; the values of an ORIGINAL image are in HU by PS3.3 C.8.2.1.
    original = all(instance.image_type[:1] == ("ORIGINAL",) for instance in recipe.series.instances)
    kinds = {instance.rescale_type for instance in recipe.series.instances} - {"", "HU", "US" if original else ""}
    if kinds:
        raise DataError(
            f"RescaleType (0028,1054) is {', '.join(sorted(kinds))}, expected HU",
            hint="Use the original reconstruction, or correct the tag if the values are in HU.",
        )
    return replace(recipe, unit="HU")


def _suv(recipe: Recipe, suv: Kind) -> Recipe:
    instances = recipe.series.instances
    tracers = {instance.tracer for instance in instances}
    if len(tracers) != 1 or None in tracers:
        names = sorted({name for a in tracers for b in tracers if a and b for name in _differing(a, b)})
        raise DataError(
            f"slices of one series disagree about {', '.join(names)}", hint="They come from two series: export again."
        )
    tracer = next(iter(tracers))
    moments = [instances[i].moment for i, _ in recipe.order]
    known = [moment for moment in moments if moment is not None]
    if tracer is None or len(known) != len(moments):
        raise DataError("the series has no emission header")
    factors = suv_factors(tracer, known, suv)
    notes: dict[str, float | str] = {"suv": suv, "units": tracer.units, "decay_correction": tracer.decay_correction}
    waited = uptake_s(tracer, known)
    if waited is not None:
        notes["uptake_min"] = round(waited / 60, 1)
    return replace(
        recipe,
        slopes=tuple(slope * factor for slope, factor in zip(recipe.slopes, factors, strict=True)),
        intercepts=tuple(value * factor for value, factor in zip(recipe.intercepts, factors, strict=True)),
        unit="SUV",
        notes=notes,
    )


def _spect(recipe: Recipe, suv: Kind, *, calibrated: bool) -> Recipe:
    counts = replace(recipe, unit="counts")
    tracer = recipe.series.first.tracer
    if tracer is None or tracer.units not in ("BQML", "GML"):
        return replace(counts, notes={"why_counts": "no calibration in the header"})
    if not calibrated:
        return replace(counts, notes={"why_counts": "another SPECT of the cohort has no calibration"})
    scale = recipe.series.first.calibration
    slope = 1.0 if scale is None or scale.slope is None else scale.slope
    intercept = 0.0 if scale is None else scale.intercept or 0.0
    slices = len(recipe.order)
    try:
        return _suv(replace(recipe, slopes=(slope,) * slices, intercepts=(intercept,) * slices), suv)
    except DataError as error:
        return replace(counts, notes={"why_counts": error.message})


def _differing(a: object, b: object) -> list[str]:
    return [name for name, value in vars(a).items() if vars(b)[name] != value]


def _check_uids(series: Series) -> None:
    uids = [instance.uid for instance in series.instances]
    twice = len(uids) - len(set(uids))
    if twice:
        raise DataError(
            f"duplicate slices: {twice} of {len(uids)} files are copies of another (same SOPInstanceUID)",
            hint="Remove the copies, or give the folder that holds each file once.",
        )


def _smallest(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """int16 where whole numbers fit it, else float32."""
    if array.dtype.kind == "i":
        low, high = int(array.min()), int(array.max())
        if low >= -(2**15) and high < 2**15:
            return array.astype(np.int16)
    return array.astype(np.float32)
