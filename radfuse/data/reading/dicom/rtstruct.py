"""RT structure sets: named stacks of closed contours (PS3.3 C.8.8.5 and C.8.8.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from radfuse.data.geometry import Geometry
from radfuse.data.reading.dicom.files import File
from radfuse.data.reading.dicom.header import items, numbers, read_dataset, text
from radfuse.data.reading.dicom.rasterise import Points, draw
from radfuse.data.reading.dicom.structures import Structures
from radfuse.errors import DataError, GeometryError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


class ContourSet(Structures):
    """The contours of an RTSTRUCT.

    Parameters
    ----------
    names : ROI names.
    contours : of each ROI, arrays (points, 3) in LPS millimetres.
    others : of each ROI, contours of kinds that enclose nothing (points, open lines), by kind.
    series, frame_of_reference : see `Structures`.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        contours: tuple[tuple[Points, ...], ...],
        others: tuple[tuple[str, ...], ...],
        series: frozenset[str],
        frame_of_reference: str,
    ) -> None:
        self.names = names
        self.contours = contours
        self.others = others
        self.series = series
        self.frame_of_reference = frame_of_reference

    def draw(self, region: int, grid: Geometry) -> npt.NDArray[np.bool_]:
        """Give the voxels whose centres the contours enclose, even-odd; see `rasterise.draw`."""
        name = self.names[region]
        if self.others[region]:
            raise DataError(
                f"structure {name!r} has contours of kind {', '.join(sorted(set(self.others[region])))}, "
                f"expected {CLOSED[0]}",
                hint="Points and open lines enclose nothing: choose another structure.",
            )
        try:
            return draw(self.contours[region], grid)
        except GeometryError as error:
            raise GeometryError(f"structure {name!r}: {error.message}", hint=error.hint) from error


def read_rtstruct(file: File, *, contours: bool = True) -> ContourSet:
    """Read a structure set, with or without its contours; ROIs that have none stay in the list and draw nothing."""
    dataset = read_dataset(file, pixels=False)
    rois = items(dataset, "StructureSetROISequence")
    frames = {text(roi, "ReferencedFrameOfReferenceUID") for roi in rois} - {""}
    if len(frames) > 1:
        raise DataError("the structures are in more than one frame of reference", hint="Export one set per image.")
    drawn: dict[str, Dataset] = {
        text(entry, "ReferencedROINumber"): entry for entry in items(dataset, "ROIContourSequence")
    }
    lines, others = [], []
    for roi in rois:
        entry = drawn.get(text(roi, "ROINumber")) if contours else None
        closed, open_ = _contours(items(entry, "ContourSequence") if entry is not None else ())
        lines.append(closed)
        others.append(open_)
    frame = next(iter(frames), text(dataset, "FrameOfReferenceUID"))
    names = tuple(text(roi, "ROIName") for roi in rois)
    return ContourSet(names, tuple(lines), tuple(others), _series(dataset), frame)


def _contours(entries: object) -> tuple[tuple[Points, ...], tuple[str, ...]]:
    closed, others = [], []
    for entry in entries:  # type: ignore[attr-defined]
        kind = text(entry, "ContourGeometricType").upper()
        data = np.asarray(numbers(entry, "ContourData"))
        if len(data) % 3 or len(data) == 0:
            raise DataError(f"a contour has {len(data)} coordinates, expected three for each point")
        if kind in CLOSED:
            closed.append(data.reshape(-1, 3))
        else:
            others.append(kind or "none")
    return tuple(closed), tuple(others)


def _series(dataset: Dataset) -> frozenset[str]:
    named = (
        text(series, "SeriesInstanceUID")
        for frame in items(dataset, "ReferencedFrameOfReferenceSequence")
        for study in items(frame, "RTReferencedStudySequence")
        for series in items(study, "RTReferencedSeriesSequence")
    )
    return frozenset(uid for uid in named if uid)
