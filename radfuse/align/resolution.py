"""Bring volumes to one resolution, for the inputs of fusion only."""

from collections.abc import Mapping

import numpy as np

from radfuse.data.volume import Volume

Triple = tuple[float, float, float]

FWHM_PER_SIGMA = float(np.sqrt(8.0 * np.log(2.0)))  # 2.3548


def target_fwhm_mm(fwhm_mm: Mapping[str, Triple]) -> Triple | None:
    """Give the largest point spread along each axis; None when none is known."""
    if not fwhm_mm:
        return None
    x, y, z = (max(axis) for axis in zip(*fwhm_mm.values(), strict=True))
    return (x, y, z)


def kernel_sigma_mm(source_fwhm_mm: Triple, target: Triple) -> Triple:
    """Give the Gaussian that brings a source to a target: variances add, so ``sqrt(target^2 - source^2)`` per axis.

    Zero along an axis where the source is already the blurrier.

    Examples
    --------
    >>> [round(s * FWHM_PER_SIGMA, 6) for s in kernel_sigma_mm((3.0, 3.0, 6.0), (5.0, 5.0, 5.0))]
    [4.0, 4.0, 0.0]
    """
    gap = np.maximum(np.square(target) - np.square(source_fwhm_mm), 0.0)
    x, y, z = (float(value) for value in np.sqrt(gap) / FWHM_PER_SIGMA)
    return (x, y, z)


def blur(volume: Volume, sigma_mm: Triple) -> Volume:
    """Convolve with a Gaussian, along the axes of the grid; the edge value goes on beyond the edge.

    A kernel narrower than half a voxel along an axis is sampled too coarsely to be exact.
    """
    from scipy.ndimage import gaussian_filter

    voxels = np.asarray(sigma_mm) / np.asarray(volume.geometry.spacing_mm)
    blurred = gaussian_filter(volume.array.astype(np.float64), voxels[::-1], mode="nearest", truncate=5.0)
    return volume.with_array(blurred.astype(np.float32))


def match(
    volumes: Mapping[str, Volume], fwhm_mm: Mapping[str, Triple], target: Triple | None
) -> tuple[dict[str, Volume], dict[str, object]]:
    """Blur what is sharper than the target; give the volumes that changed, and what was done to each.

    Parameters
    ----------
    volumes : on one grid.
    fwhm_mm : point spread by modality; a modality not named is left as it is.
    target : the resolution to reach, x, y, z in mm; None for the largest named.
    """
    reach = target or target_fwhm_mm(fwhm_mm)
    matched: dict[str, Volume] = {}
    found: dict[str, object] = {}
    for name, volume in volumes.items():
        if reach is None or name not in fwhm_mm:
            found[name] = "point spread not given: left as it is"
            continue
        sigma = kernel_sigma_mm(fwhm_mm[name], reach)
        axes = [axis for axis, own, wanted in zip("xyz", fwhm_mm[name], reach, strict=True) if own > wanted]
        if any(sigma):
            matched[name] = blur(volume, sigma)
        found[name] = {
            "source_fwhm_mm": list(fwhm_mm[name]),
            "target_fwhm_mm": list(reach),
            "kernel_sigma_mm": list(sigma),
            "already_blurrier_along": axes,
        }
    return matched, found
