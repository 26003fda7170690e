"""DICOM segmentations: binary, fractional and label-map frames placed on the grid of the image (PS3.3 C.8.20)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from radfuse.data.geometry import Geometry
from radfuse.data.reading.dicom.files import File
from radfuse.data.reading.dicom.frames import frame_planes, group
from radfuse.data.reading.dicom.header import items, number, quietly, read_dataset, text
from radfuse.data.reading.dicom.planes import Plane, axes
from radfuse.data.reading.dicom.structures import Structures
from radfuse.errors import DataError, GeometryError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

HALF = 0.5
OFF_GRID_VOXELS = 0.01  # a frame this far from the image's voxels lies on another grid


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame: its segment (0 in a label map, where the pixels say), place, and pixels."""

    segment: int
    plane: Plane
    pixels: npt.NDArray[Any]


class Segmentation(Structures):
    """The segments of a SEG object; they may overlap, for each is drawn by itself.

    Parameters
    ----------
    names : segment labels.
    numbers : segment numbers, in the same order.
    frames : every frame.
    full : the stored value that means wholly inside (1, or Maximum Fractional Value).
    threshold : the fraction from which a voxel of a fractional segment is inside.
    series, frame_of_reference : see `Structures`.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        numbers: tuple[int, ...],
        frames: tuple[Frame, ...],
        full: float,
        threshold: float,
        series: frozenset[str],
        frame_of_reference: str,
    ) -> None:
        self.names = names
        self.numbers = numbers
        self.frames = frames
        self.full = full
        self.threshold = threshold
        self.series = series
        self.frame_of_reference = frame_of_reference

    def draw(self, region: int, grid: Geometry) -> npt.NDArray[np.bool_]:
        """Give the voxels of one segment; its frames have to lie on voxels of the grid."""
        number_ = self.numbers[region]
        inside = np.zeros(grid.shape, dtype=bool)
        for frame in self.frames:
            if frame.segment == number_:
                own = frame.pixels >= self.threshold * self.full
            elif frame.segment == 0:
                own = frame.pixels == number_
            else:
                continue
            if own.any():
                _put(inside, own, frame.plane, grid, self.names[region])
        return inside


def read_segmentation(file: File, threshold: float = HALF, *, frames: bool = True) -> Segmentation:
    """Read a SEG object, with or without frames; a fractional segment is inside from ``threshold`` of its maximum."""
    dataset = read_dataset(file, pixels=frames)
    kind = text(dataset, "SegmentationType").upper()
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise DataError(f"SegmentationType (0062,0001) is {kind or 'missing'}, expected BINARY, FRACTIONAL or LABELMAP")
    full = (number(dataset, "MaximumFractionalValue") or 0.0) if kind == "FRACTIONAL" else 1.0
    if full <= 0:
        raise DataError("MaximumFractionalValue (0062,000E) is missing in a fractional segmentation")
    segments = items(dataset, "SegmentSequence")
    numbers_ = tuple(int(number(segment, "SegmentNumber") or 0) for segment in segments)
    named = [i for i, n in enumerate(numbers_) if n > 0]
    return Segmentation(
        tuple(text(segments[i], "SegmentLabel") for i in named),
        tuple(numbers_[i] for i in named),
        tuple(_frames(dataset, labelled=kind == "LABELMAP")) if frames else (),
        full,
        threshold if kind == "FRACTIONAL" else 1.0,
        frozenset(text(series, "SeriesInstanceUID") for series in items(dataset, "ReferencedSeriesSequence")) - {""},
        text(dataset, "FrameOfReferenceUID"),
    )


def _frames(dataset: Dataset, *, labelled: bool) -> list[Frame]:
    try:
        with quietly():
            pixels = dataset.pixel_array
    except Exception as error:  # decoders raise what they like; their text may quote the file
        raise DataError(
            f"the pixels of a segmentation cannot be decoded ({type(error).__name__})", hint="Export it again."
        ) from None
    pixels = pixels if pixels.ndim == 3 else pixels[np.newaxis]
    planes = frame_planes(dataset)
    if len(planes) != len(pixels):
        raise DataError(f"the segmentation has {len(pixels)} frames and {len(planes)} descriptions of frames")
    shared = items(dataset, "SharedFunctionalGroupsSequence")
    frames = []
    for own, plane, image in zip(items(dataset, "PerFrameFunctionalGroupsSequence"), planes, pixels, strict=True):
        segment = 0
        if not labelled:
            chosen = group([own, *shared], "SegmentIdentificationSequence", "a frame's SegmentIdentificationSequence")
            segment = int(number(chosen, "ReferencedSegmentNumber") or 0)
            if segment < 1:
                raise DataError("a frame does not say its segment (ReferencedSegmentNumber)")
        frames.append(Frame(segment, plane, image))
    return frames


def _put(inside: npt.NDArray[np.bool_], own: npt.NDArray[np.bool_], plane: Plane, grid: Geometry, name: str) -> None:
    """Write a frame's pixels into the volume, whatever way its rows and columns run along the grid's axes."""
    along_row, along_column, _ = axes(plane.orientation)
    to_index = np.linalg.inv(grid.index_to_physical)
    corner = to_index[:3, :3] @ np.asarray(plane.position_mm) + to_index[:3, 3]
    per_column = to_index[:3, :3] @ (along_row * plane.spacing_mm[1])
    per_row = to_index[:3, :3] @ (along_column * plane.spacing_mm[0])
    rows, columns = np.nonzero(own)
    index = corner + np.outer(columns, per_column) + np.outer(rows, per_row)
    whole = np.rint(index)
    off = float(np.abs(index - whole).max())
    if off > OFF_GRID_VOXELS * max(own.shape) ** 0.5:
        raise GeometryError(
            f"segment {name!r} lies on another grid than the image: up to {off:.2f} voxels beside its voxels",
            hint="Give the image that it was drawn on, or resample the segmentation onto it.",
        )
    x, y, z = whole.astype(int).T
    if min(x.min(), y.min(), z.min()) < 0 or (whole.max(axis=0) >= np.asarray(grid.size)).any():
        raise GeometryError(f"segment {name!r} reaches beyond the image", hint="Give the whole image series.")
    inside[z, y, x] = True
