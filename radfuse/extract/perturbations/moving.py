"""Motions of a patient under the scanner: what rotation, translation and alignment share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from radfuse.data.geometry import Geometry
from radfuse.data.volume import Mask, Volume, reference_image

if TYPE_CHECKING:
    import SimpleITK as sitk

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Motion:
    """A rigid motion, drawn anew each time. Several in a row are made one, so that images are interpolated once.

    Parameters
    ----------
    back : from the grid, the modality and a generator to a 4 x 4 matrix: from a point of the result to the point
        that it came from, LPS millimetres.
    region : whether the region moves along; where it does not, the image slides under it.
    """

    back: Callable[[Geometry, str, np.random.Generator], Matrix]
    region: bool = True

    def __call__(self, volume: Volume, mask: Mask, rng: np.random.Generator) -> tuple[Volume, Mask]:
        """Move one image and its region."""
        own = self.back(volume.geometry, volume.modality, rng)
        of_region = own if self.region else np.eye(4)
        return moved_volume(volume, own, of_region), moved_region(mask, of_region)


def joined(
    motions: Sequence[Motion], grid: Geometry, modality: str, generators: Sequence[np.random.Generator]
) -> tuple[Matrix, Matrix]:
    """Give the ways back through several motions, one after another: that of the image and that of the region."""
    image, region = np.eye(4), np.eye(4)
    for motion, rng in zip(motions, generators, strict=True):
        back = motion.back(grid, modality, rng)
        image = image @ back
        region = region @ back if motion.region else region
    return image, region


def moved_volume(volume: Volume, back: Matrix, of_region: Matrix) -> Volume:
    """Move an image.

    Cubic B-splines lose less of the noise between voxels than lines do. The grid grows by whole voxels until it holds
    all places to which the motion of the region takes it; what is new in it repeats the border.
    """
    import SimpleITK as sitk

    if np.array_equal(back, np.eye(4)) and np.array_equal(of_region, back):
        return volume
    grid = _covering(volume.geometry, of_region)
    image = _thick(sitk.Cast(volume.to_sitk(), sitk.sitkFloat32))
    return Volume(_sampled(image, grid, back, sitk.sitkBSpline, goes_on=True), grid, volume.modality, volume.unit)


def moved_region(mask: Mask, back: Matrix) -> Mask:
    """Move a region: interpolated linearly and kept from one half up, by nearest neighbour where nothing is left."""
    import SimpleITK as sitk

    if np.array_equal(back, np.eye(4)):
        return mask
    grid = _covering(mask.geometry, back)
    region = sitk.Cast(Mask(mask.inside.astype(np.uint8), mask.geometry).to_sitk(), sitk.sitkFloat32)
    inside = _sampled(region, grid, back, sitk.sitkLinear) >= 0.5
    if not inside.any():
        inside = _sampled(region, grid, back, sitk.sitkNearestNeighbor) >= 0.5
    return with_region(mask, inside, grid)


def moved_view(view: Mask, back: Matrix, of_region: Matrix) -> Mask:
    """Move what a scan covers along with its image, see `moved_volume`; beyond the grid it goes on as at the border."""
    import SimpleITK as sitk

    if np.array_equal(back, np.eye(4)) and np.array_equal(of_region, back):
        return view
    grid = _covering(view.geometry, of_region)
    covered = _sampled(view.to_sitk(), grid, back, sitk.sitkNearestNeighbor, goes_on=True) > 0
    return with_region(view, covered, grid)


def slide(shift_mm: npt.NDArray[np.float64]) -> Matrix:
    """Give the way back from a shift."""
    back = np.eye(4)
    back[:3, 3] = -shift_mm
    return back


def with_region(mask: Mask, inside: npt.NDArray[np.bool_], grid: Geometry | None = None) -> Mask:
    """Give a mask of the same label and type around another region."""
    labels = np.where(inside, mask.label, 0).astype(mask.array.dtype)
    return Mask(labels, mask.geometry if grid is None else grid, mask.label)


def centre_mm(grid: Geometry) -> npt.NDArray[np.float64]:
    """Give the middle of a grid, LPS millimetres."""
    middle: npt.NDArray[np.float64] = grid.corners_mm.mean(axis=0)
    return middle


def _covering(grid: Geometry, back: Matrix) -> Geometry:
    """Extend a lattice over all places to which its voxels go."""
    to_mm = grid.index_to_physical
    there = (grid.corners_mm - back[:3, 3]) @ np.linalg.inv(back[:3, :3]).T
    index = (there - to_mm[:3, 3]) @ np.linalg.inv(to_mm[:3, :3]).T
    start = np.floor(index.min(axis=0) + 1e-6).astype(int)
    stop = np.ceil(index.max(axis=0) - 1e-6).astype(int)
    origin = tuple(float(value) for value in (to_mm @ [*start, 1.0])[:3])
    x, y, z = (int(count) for count in stop - start + 1)
    return Geometry((x, y, z), grid.spacing_mm, origin, grid.direction)  # type: ignore[arg-type]


def _thick(image: sitk.Image) -> sitk.Image:
    """Repeat the border along axes of fewer than four voxels: ITK's splines make nonsense of a single one."""
    import SimpleITK as sitk

    pad = [0 if count >= 4 else 3 for count in image.GetSize()]
    return sitk.ZeroFluxNeumannPad(image, pad, pad) if any(pad) else image


def _sampled(
    image: sitk.Image, grid: Geometry, back: Matrix, method: int, *, goes_on: bool = False
) -> npt.NDArray[np.float32]:
    import SimpleITK as sitk

    resampler = sitk.ResampleImageFilter()
    resampler.SetNumberOfThreads(1)
    resampler.SetReferenceImage(reference_image(grid))
    resampler.SetTransform(sitk.AffineTransform(back[:3, :3].ravel().tolist(), back[:3, 3].tolist()))
    resampler.SetInterpolator(method)
    # A region ends at the border of its grid; an image goes on.
    resampler.SetUseNearestNeighborExtrapolator(goes_on)
    resampler.SetOutputPixelType(sitk.sitkFloat32)
    array: npt.NDArray[np.float32] = sitk.GetArrayFromImage(resampler.Execute(image))
    return array
