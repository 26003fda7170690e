"""The body of the phantom and its scanners: how an anatomy becomes voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from radfuse.data.geometry import Geometry
from radfuse.data.volume import Mask, Volume

Array = npt.NDArray[np.float64]
Triple = tuple[float, float, float]

CT, PET = "CT", "PET"


@dataclass(frozen=True)
class Site:
    """How a scanner site changes what it measures: ``gain * value + offset + noise``.

    Parameters
    ----------
    label : the batch.
    gain : factor on the contrast to water (HU) or on the uptake (SUV).
    offset : added afterwards, HU or SUV.
    noise : standard deviation in HU; in PET the share of the square root of the uptake.
    """

    label: str
    gain: float
    offset: float
    noise: float


@dataclass(frozen=True)
class Modality:
    """How a modality samples the body.

    Parameters
    ----------
    grid : its voxels.
    fwhm_mm : full width at half maximum of its point-spread function along x, y, z.
    refine : by how much the grid is refined along x, y, z to draw and blur before sampling; odd, so that the voxel
        centres are among the fine ones.
    sites : the sites that own such a scanner.
    """

    grid: Geometry
    fwhm_mm: Triple
    refine: tuple[int, int, int]
    sites: tuple[Site, ...]


MODALITIES = {
    CT: Modality(
        Geometry((48, 48, 18), (1.5, 1.5, 3.0), (-35.25, -35.25, -25.5)),
        fwhm_mm=(2.0, 2.0, 2.0),
        refine=(1, 1, 3),
        sites=(Site("ct-a", 0.80, -15.0, 8.0), Site("ct-b", 1.25, 15.0, 12.0)),
    ),
    PET: Modality(
        Geometry((22, 22, 16), (4.0, 4.0, 4.0), (-42.0, -42.0, -30.0)),
        fwhm_mm=(6.0, 6.0, 6.0),
        refine=(3, 3, 3),
        sites=(Site("pet-a", 0.70, 0.0, 0.05), Site("pet-b", 1.00, 0.1, 0.08), Site("pet-c", 1.45, 0.2, 0.06)),
    ),
}


@dataclass(frozen=True)
class Organ:
    """An ellipsoid in the body; positions and semi-axes in millimetres, values in HU and SUV.

    ``hu_spread`` and ``suv_spread`` are the standard deviations of its texture, in HU and as a share of the uptake.
    """

    name: str
    centre_mm: Triple
    axes_mm: Triple
    hu: float
    suv: float
    hu_spread: float = 0.0
    suv_spread: float = 0.0


# Drawn in this order, the later over the earlier. The body is closed at both ends, so that a shift along z shows.
ORGANS = (
    Organ("skin and fat", (0.0, 0.0, 0.0), (32.0, 29.0, 24.0), -90.0, 0.3),
    Organ("muscle", (0.0, 0.0, 0.0), (28.0, 25.0, 21.0), 50.0, 0.8),
    Organ("bone", (18.0, -9.0, 0.0), (5.0, 5.0, 14.0), 500.0, 1.6),
    Organ("liver", (14.0, 12.0, 2.0), (7.0, 6.0, 9.0), 100.0, 2.5),
    Organ("gas", (-4.0, -20.0, -3.0), (6.0, 4.0, 7.0), -800.0, 0.1),
)
AIR_HU = -1000.0

TEXTURE_FWHM_MM = {CT: 3.0, PET: 6.0}


def scan(
    name: str, lesion: Organ, shift_mm: Triple, site: Site, site_effect: float, rng: np.random.Generator
) -> tuple[Volume, Mask]:
    """Scan the body with its lesion; give the voxels and the lesion drawn on them.

    Parameters
    ----------
    name : CT or PET.
    lesion : drawn over all other organs.
    shift_mm : how far the content lies from where the header says, x, y, z.
    site : whose scanner it is.
    site_effect : 0 scans as an ideal site would, but for the noise; 1 as this site does.
    rng : draws the texture of the lesion and the noise.
    """
    modality = MODALITIES[name]
    fine = refined(modality)
    ideal = _draw(name, _axes_mm(fine, shift_mm), lesion, _unit_texture(fine, TEXTURE_FWHM_MM[name], rng))
    rx, ry, rz = modality.refine
    sampled = blur(ideal, fine, modality.fwhm_mm)[rz // 2 :: rz, ry // 2 :: ry, rx // 2 :: rx]
    measured = _through_site(name, sampled, site, site_effect, rng)
    inside = _occupancy(_axes_mm(modality.grid, shift_mm), lesion) >= 0.5
    volume = Volume(measured, modality.grid, name, "HU" if name == CT else "SUV")
    return volume, Mask(inside.astype(np.uint8), modality.grid)


def refined(modality: Modality) -> Geometry:
    """Put the voxel centres of a grid among finer ones."""
    grid, refine = modality.grid, np.asarray(modality.refine)
    spacing = np.asarray(grid.spacing_mm) / refine
    origin = np.asarray(grid.origin_mm) - spacing * (refine // 2)
    nx, ny, nz = (int(n) for n in np.asarray(grid.size) * refine)
    return Geometry((nx, ny, nz), tuple(map(float, spacing)), tuple(map(float, origin)))  # type: ignore[arg-type]


def blur(image: Array, grid: Geometry, fwhm_mm: Triple) -> Array:
    """Convolve with a Gaussian of this full width at half maximum along x, y, z."""
    from scipy.ndimage import gaussian_filter

    sigma = np.asarray(fwhm_mm) / np.sqrt(8.0 * np.log(2.0)) / np.asarray(grid.spacing_mm)
    blurred: Array = gaussian_filter(image, sigma[::-1], mode="nearest")
    return blurred


def _axes_mm(grid: Geometry, shift_mm: Triple) -> tuple[Array, Array, Array]:
    """Where the body's own points x, y, z lie that a shifted grid samples, each along its axis of (z, y, x)."""
    x, y, z = (
        origin + spacing * np.arange(size, dtype=np.float64) - shift
        for origin, spacing, size, shift in zip(grid.origin_mm, grid.spacing_mm, grid.size, shift_mm, strict=True)
    )
    return x[None, None, :], y[None, :, None], z[:, None, None]


def _occupancy(axes: tuple[Array, Array, Array], organ: Organ) -> Array:
    """How much of each point belongs to an ellipsoid: 1 inside, 0 outside, a ramp of about 1 mm between."""
    squares = (((a - c) / s) ** 2 for a, c, s in zip(axes, organ.centre_mm, organ.axes_mm, strict=True))
    depth_mm = (1.0 - np.sqrt(sum(squares))) * min(organ.axes_mm)
    share: Array = np.clip(depth_mm + 0.5, 0.0, 1.0)
    return share


def _draw(name: str, axes: tuple[Array, Array, Array], lesion: Organ, texture: Array) -> Array:
    image = np.full(texture.shape, AIR_HU if name == CT else 0.0)
    for organ in ORGANS:
        image += _occupancy(axes, organ) * ((organ.hu if name == CT else organ.suv) - image)
    level, spread = (lesion.hu, lesion.hu_spread) if name == CT else (lesion.suv, lesion.suv * lesion.suv_spread)
    drawn: Array = image + _occupancy(axes, lesion) * (level + spread * texture - image)
    return drawn


def _unit_texture(grid: Geometry, fwhm_mm: float, rng: np.random.Generator) -> Array:
    """Smooth noise of mean 0 and standard deviation 1 over the grid."""
    smooth = blur(rng.standard_normal(grid.shape), grid, (fwhm_mm, fwhm_mm, fwhm_mm))
    unit: Array = (smooth - smooth.mean()) / smooth.std()
    return unit


def _through_site(
    name: str, ideal: Array, site: Site, site_effect: float, rng: np.random.Generator
) -> npt.NDArray[np.generic]:
    gain = 1.0 + site_effect * (site.gain - 1.0)
    offset = site_effect * site.offset
    noise = rng.standard_normal(ideal.shape)
    if name == CT:
        tissue = ideal > -200.0  # scanners agree on air, and differ in tissue
        hu = np.where(tissue, gain * ideal + offset, ideal) + site.noise * noise
        return np.rint(np.clip(hu, -1024, 3071)).astype(np.int16)
    suv = gain * ideal + offset * (ideal > 0.1)
    return np.maximum(suv + site.noise * np.sqrt(np.maximum(suv, 0.0)) * noise, 0.0).astype(np.float32)
