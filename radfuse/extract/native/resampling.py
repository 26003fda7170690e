"""Resampling to another spacing: PyRadiomics' grid and ITK's cubic spline, on no more of the image than it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from radiomics import imageoperations

from radfuse.data.geometry import Geometry
from radfuse.data.volume import Mask, Volume, geometry_of, reference_image
from radfuse.extract.kernels.splines import prefilter, sample, settle
from radfuse.extract.native import HandOver

Array = npt.NDArray[Any]
Inside = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

# The spline's pole is 0.27: this many voxels away nothing is left of where the recursion started, not one bit.
MARGIN = 48

# Rounding of a sum of 64 terms, as a share of the largest voxel; with room to spare.
DOUBT = 1e-12


def resampled(
    volume: Volume, mask: Mask, settings: Mapping[str, Any], box: tuple[slice, ...]
) -> tuple[Array, Inside, Geometry]:
    """Resample image and region as `radiomics.imageoperations.resampleImage` does.

    Parameters
    ----------
    volume, mask : on one grid.
    settings : `resampledPixelSpacing`, `interpolator` and `padDistance` count.
    box : bounding box of the region.
    """
    grid = _grid(volume.geometry, settings, box)
    own = settings["interpolator"] in ("sitkBSpline", sitk.sitkBSpline)
    direct = np.asarray(volume.geometry.direction).reshape(3, 3)
    if grid is None or not own or not np.array_equal(np.abs(direct), np.eye(3)):
        return _by_pyradiomics(volume, mask, settings)
    positions = _positions(volume.geometry, grid)
    return _spline(volume.array, positions), _nearest(mask.inside[box], box, positions), grid


def _by_pyradiomics(volume: Volume, mask: Mask, settings: Mapping[str, Any]) -> tuple[Array, Inside, Geometry]:
    region = sitk.Cast(mask.to_sitk(), sitk.sitkUInt32)
    image = volume.to_sitk()
    region.CopyInformation(image)
    found, region = imageoperations.resampleImage(image, region, **{**settings, "label": mask.label})
    return sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(region) == mask.label, geometry_of(found)


def _grid(geometry: Geometry, settings: Mapping[str, Any], box: tuple[slice, ...]) -> Geometry | None:
    """Give PyRadiomics' grid: aligned with the corner of the image, covering the region and its pad.

    None when the spacing stays as it is, and nothing is interpolated.
    """
    spacing = np.array(geometry.spacing_mm)
    wanted = np.array(settings["resampledPixelSpacing"])
    if len(wanted) != 3:
        raise HandOver("resampledPixelSpacing has not three axes")
    wanted = np.where(wanted == 0, spacing, wanted)
    first = np.array([part.start for part in box[::-1]])
    size = np.array([part.stop - part.start for part in box[::-1]])
    wanted = np.where(size != 1, wanted, spacing)
    if np.allclose(spacing, wanted):
        return None
    ratio = spacing / wanted
    pad = settings.get("padDistance", 5)
    lower = np.floor((first - 0.5) * ratio - pad)
    upper = np.ceil((first + size - 0.5) * ratio + pad)
    last = np.ceil(np.array(geometry.size) * ratio) - 1
    lower = np.where(lower < 0, 0, lower)
    upper = np.where(upper > last, last, upper)
    corner = np.array(0.5 * (wanted - spacing) / spacing) + lower / ratio
    origin = _point(geometry).TransformContinuousIndexToPhysicalPoint(corner.tolist())
    count = tuple(int(value) for value in upper - lower + 1)
    return Geometry(count, tuple(map(float, wanted)), origin, geometry.direction)  # type: ignore[arg-type]


def _point(geometry: Geometry) -> sitk.Image:
    return reference_image(Geometry((1, 1, 1), geometry.spacing_mm, geometry.origin_mm, geometry.direction))


def _positions(geometry: Geometry, grid: Geometry) -> list[Floats]:
    """Say where the grid's voxels lie in the image, in voxels along z, y, x, by ITK's own arithmetic.

    ITK takes the ends of each line along x to the image and goes straight between them
    (itkResampleImageFilter); every rounding counts where a value lies on a whole number.
    """
    source, target = _point(geometry), _point(grid)

    def index(*voxel: int) -> tuple[float, ...]:
        return source.TransformPhysicalPointToContinuousIndex(target.TransformIndexToPhysicalPoint(voxel))  # type: ignore[no-any-return]

    count = grid.size[0]
    start, end = index(0, 0, 0)[0], index(count, 0, 0)[0]
    x = start + np.arange(count) / float(count) * (end - start)
    y = np.array([index(0, place, 0)[1] for place in range(grid.size[1])])
    z = np.array([index(0, 0, place)[2] for place in range(grid.size[2])])
    return [z, y, x]


def _nearest(inside: Inside, box: tuple[slice, ...], positions: list[Floats]) -> Inside:
    """Take the nearest voxel; ``inside`` is the region in its box."""
    nearest = [np.floor(place + 0.5).astype(np.int64) - part.start for place, part in zip(positions, box, strict=True)]
    within = [(index >= 0) & (index < size) for index, size in zip(nearest, inside.shape, strict=True)]
    found = inside[np.ix_(*(np.where(ok, index, 0) for ok, index in zip(within, nearest, strict=True)))]
    return np.asarray(found & within[0][:, None, None] & within[1][None, :, None] & within[2][None, None, :])


def _spline(image: Array, positions: list[Floats]) -> Array:
    found, cut = [], []
    for position, size in zip(positions, image.shape, strict=True):
        # ITK looks for the voxel before in single precision.
        base = np.floor(position.astype(np.float32)).astype(np.int64)
        part = slice(max(0, int(base.min()) - 1 - MARGIN), min(size, int(base.max()) + 3 + MARGIN))
        # Mirrored at both ends: twice on an axis of two voxels, where ITK mirrors once and reads beyond its array.
        period = max(1, 2 * (size - 1))
        index = np.abs(base[:, None] + np.arange(-1, 3)) % period
        index = np.where(index > size - 1, period - index, index) - part.start
        index[(position < -0.5) | (position >= size - 0.5)] = -1
        found.append((index, _weights(position - base)))
        cut.append(part)
    (iz, wz), (iy, wy), (ix, wx) = found
    places, weights = (iz, iy, ix), (wz, wy, wx)
    coefficients = np.array(image[tuple(cut)], dtype=np.float64)
    largest = float(np.abs(coefficients).max())
    prefilter(coefficients)
    values = sample(coefficients, places, weights)
    # Double precision shows every rounding; the others only those that decide which way a value is cut off, or on
    # which side of zero it is.
    doubt = 1.0 if image.dtype == np.float64 else DOUBT * max(largest, 1.0)
    settle(values, coefficients, places, weights, doubt)
    if image.dtype.kind == "f":
        return values.astype(image.dtype)
    limits = np.iinfo(image.dtype)
    return np.clip(values, limits.min, limits.max).astype(image.dtype)


def _weights(w: Floats) -> Floats:
    """Give the weights of the four coefficients around places that lie ``w`` after the second."""
    last = (1.0 / 6.0) * w * w * w
    first = (1.0 / 6.0) + 0.5 * w * (w - 1.0) - last
    third = w + first - 2.0 * last
    return np.stack([first, 1.0 - first - third - last, third, last], axis=1)
