"""The common grid, and how images and regions get onto it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt

from radfuse.data.box import box_of, widened
from radfuse.data.deformation import Motion
from radfuse.data.geometry import TOLERANCE_VOXELS, Geometry
from radfuse.data.volume import Mask, Volume, reference_image, transform_to_sitk
from radfuse.errors import GeometryError

Triple = tuple[float, float, float]

NEAREST_VOXELS = 0.5  # within half a voxel the nearest neighbour of every voxel is its own counterpart


def auto_spacing_mm(grids: Iterable[Geometry]) -> float:
    """Choose one isotropic spacing for a cohort: the median cube root of the voxel volume, to half a millimetre.

    Examples
    --------
    >>> auto_spacing_mm([Geometry((9, 9, 9), (0.977, 0.977, 3.27))])
    1.5
    """
    edges_mm = [float(np.cbrt(np.prod(grid.spacing_mm))) for grid in grids]
    return max(0.5, float(np.floor(float(np.median(edges_mm)) / 0.5 + 0.5)) * 0.5)


Interpolation = Literal["linear", "bspline", "lanczos", "nearest"]


def resample(volume: Volume, grid: Geometry, transform: Motion, interpolation: Interpolation = "linear") -> Volume:
    """Sample a volume on another grid, linearly unless told otherwise, as float32.

    Outside the field of view becomes the volume's minimum, so that air stays air. Cubic B-splines and Lanczos' sinc
    swing over at edges: below the minimum they are cut off, so that no SUV turns negative; above the maximum they are
    not, since a peak between two voxels is higher than either.

    Parameters
    ----------
    volume : any unit; the unit is kept.
    grid : where to sample; positions in LPS millimetres, so origins need not agree.
    transform : from points of the grid to points of the volume.
    interpolation : linear, cubic B-spline, Lanczos-windowed sinc of radius 5 (a minute for a million voxels), or the
        nearest voxel.
    """
    import SimpleITK as sitk

    methods = {
        "linear": sitk.sitkLinear,
        "bspline": sitk.sitkBSpline,
        "lanczos": sitk.sitkLanczosWindowedSinc,
        "nearest": sitk.sitkNearestNeighbor,
    }
    image = sitk.Cast(volume.to_sitk(), sitk.sitkFloat32)
    low = float(volume.array.min())
    sampled = _resample(image, grid, transform, methods[interpolation], low)
    if interpolation in ("bspline", "lanczos"):
        np.maximum(sampled, np.float32(low), out=sampled)
    return Volume(sampled, grid, volume.modality, volume.unit)


def carry(mask: Mask, grid: Geometry, transform: Motion, supersampling: int = 1) -> Mask:
    """Carry the region of a mask onto another grid; the region becomes label 1.

    The binary region is interpolated linearly and kept from one half up, which moves its surface least. A region
    that is too thin for that is taken by nearest neighbour.

    Parameters
    ----------
    supersampling : a voxel is asked at so many points along each axis and is inside when at least half of them are;
        1 asks its centre alone, which is coarse where a fine outline comes to large voxels.
    """
    import SimpleITK as sitk

    region = Volume(mask.inside.astype(np.float32), mask.geometry, "region", "a.u.").to_sitk()
    if supersampling > 1:
        inside = _covered(mask, region, grid, transform, supersampling) >= 0.5
    else:
        inside = _resample(region, grid, transform, sitk.sitkLinear, 0.0) >= 0.5
    if not inside.any():
        inside = _resample(region, grid, transform, sitk.sitkNearestNeighbor, 0.0) >= 0.5
    return Mask(inside.astype(np.uint8), grid)


def field_of_view(scan: Geometry, grid: Geometry, transform: Motion) -> Mask:
    """Tell which voxels of a grid have their centre in a scan, which ends half a voxel beyond its outer centres."""
    import SimpleITK as sitk

    whole = Mask(np.ones(scan.shape, np.uint8), scan).to_sitk()
    return Mask((_resample(whole, grid, transform, sitk.sitkNearestNeighbor, 0.0) > 0).astype(np.uint8), grid)


def _covered(mask: Mask, region: object, grid: Geometry, transform: Motion, along: int) -> npt.NDArray[np.float64]:
    """Give the share of the points of each voxel, ``along`` on each axis and evenly spread, that are in the region."""
    import SimpleITK as sitk
    from scipy.ndimage import maximum_filter

    covered = np.zeros(grid.shape)
    # One voxel of either grid around the region, so that no voxel that is touched is left out.
    reach = np.ceil(max(grid.spacing_mm) / np.asarray(mask.geometry.spacing_mm)).astype(int) + 1
    wide = maximum_filter(mask.inside.astype(np.float32), size=tuple(2 * reach[::-1] + 1))
    near = Volume(wide, mask.geometry, "region", "a.u.").to_sitk()
    box = box_of(_resample(near, grid, transform, sitk.sitkLinear, 0.0) > 0)
    if box[0].stop == box[0].start:
        return covered
    fine = _finer(grid.part(box), along)
    inside = _resample(region, fine, transform, sitk.sitkLinear, 0.0) >= 0.5
    x, y, z = (n // along for n in fine.size)
    covered[box] = inside.reshape(z, along, y, along, x, along).mean(axis=(1, 3, 5))
    return covered


def _finer(grid: Geometry, along: int) -> Geometry:
    """Divide every voxel of a grid."""
    spacing = np.asarray(grid.spacing_mm) / along
    first = np.asarray(grid.direction).reshape(3, 3) @ (spacing * (1 - along) / 2)
    x, y, z = (n * along for n in grid.size)
    sx, sy, sz = (float(value) for value in spacing)
    ox, oy, oz = (float(value) for value in np.asarray(grid.origin_mm) + first)
    return Geometry((x, y, z), (sx, sy, sz), (ox, oy, oz), grid.direction)


def _resample(image: object, grid: Geometry, transform: Motion, method: int, outside: float) -> npt.NDArray[np.float32]:
    import SimpleITK as sitk

    resampler = sitk.ResampleImageFilter()
    resampler.SetNumberOfThreads(1)
    resampler.SetReferenceImage(reference_image(grid))
    resampler.SetTransform(transform_to_sitk(transform))
    resampler.SetInterpolator(method)
    resampler.SetDefaultPixelValue(outside)
    resampler.SetOutputPixelType(sitk.sitkFloat32)
    array: npt.NDArray[np.float32] = sitk.GetArrayFromImage(resampler.Execute(image))
    return array


def fit_to_image(mask: Mask, image: Geometry, name: str) -> tuple[Mask, str]:
    """Put a mask on its image's grid; also give a warning, empty when the grids agreed.

    Rounding in a header (to 1e-3 voxel) is corrected by copying the grid; up to half a voxel every mask voxel goes to
    the nearest image voxel, with a warning. Beyond that the mask belongs elsewhere: there is no tolerance to raise.
    """
    if mask.geometry == image:
        return mask, ""
    if mask.geometry.size == image.size:
        offset = (mask.geometry.corners_mm - image.corners_mm) @ np.asarray(image.direction).reshape(3, 3)
        apart = float(np.abs(offset / np.asarray(image.spacing_mm)).max())
        if apart <= NEAREST_VOXELS:
            warning = f"the {name} mask lay {apart:.3g} voxels off its image; taken to the nearest voxels"
            return Mask(mask.array, image, mask.label), warning if apart > TOLERANCE_VOXELS else ""
    raise GeometryError(
        f"the {name} mask and its image do not share a grid: {image.differences(mask.geometry)} "
        f"(image {_describe(image)}; mask {_describe(mask.geometry)})",
        hint="Draw or export the mask on this image. Is it the mask of another series?",
    )


def _describe(grid: Geometry) -> str:
    place = ", ".join(f"{value:.2f}" for value in grid.origin_mm)
    voxel = ", ".join(f"{value:.4g}" for value in grid.spacing_mm)
    return f"{' x '.join(map(str, grid.size))} voxels of ({voxel}) mm at ({place}) mm"


def crop_to(regions: Iterable[Mask], margin_mm: float) -> Geometry:
    """Cut a grid to the box around regions that lie on it, with a margin; never beyond the grid."""
    masks = list(regions)
    grid = masks[0].geometry
    union = np.logical_or.reduce([mask.inside for mask in masks])
    pad = np.ceil(margin_mm / np.asarray(grid.spacing_mm) - 1e-6).astype(int)
    return grid.part(widened(box_of(union), pad[::-1].tolist(), grid.shape))


def crop(mask: Mask, grid: Geometry) -> Mask:
    """Cut a mask to a part of its own grid."""
    first = np.linalg.solve(mask.geometry.index_to_physical, [*grid.origin_mm, 1.0])[:3]
    i, j, k = (int(v) for v in np.rint(first))
    x, y, z = grid.size
    return Mask(mask.array[k : k + z, j : j + y, i : i + x].copy(), grid, mask.label)


def inside_share(points_mm: npt.ArrayLike, grid: Geometry) -> float:
    """Give the share of points (n, 3) inside a field of view, which ends half a voxel beyond the outer centres."""
    points = np.asarray(points_mm, dtype=float).reshape(-1, 3)
    inverse = np.linalg.inv(grid.index_to_physical)
    index = points @ inverse[:3, :3].T + inverse[:3, 3]
    return float(np.mean(np.all((index >= -0.5) & (index <= np.asarray(grid.size) - 0.5), axis=1)))


def lattice_mm(grid: Geometry, along: int = 16) -> npt.NDArray[np.float64]:
    """Give points spread evenly over a grid, at most ``along`` on each axis, shape (n, 3)."""
    axes = [np.linspace(0, n - 1, min(n, along)) for n in grid.size]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    matrix = grid.index_to_physical
    points: npt.NDArray[np.float64] = index @ matrix[:3, :3].T + matrix[:3, 3]
    return points
