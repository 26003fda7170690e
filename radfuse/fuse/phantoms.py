"""Made-up bodies seen by CT, PET and MR: what fusion networks learn from when no patient may be seen.

A body is a warped ellipsoid of muscle under fat that holds organs, bones, air and lesions, each with its own
texture. What a scanner makes of it follows the physics in outline: point-spread function, counting noise in PET,
Rician noise and a bias field in MR, correlated noise in CT. The numbers are ordinary textbook values (HU, SUV, T1
brightness), drawn with wide spread, and no image of a patient went into them.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, zoom

from radfuse.data.geometry import Geometry
from radfuse.data.volume import Volume

Field3D = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tissue:
    """Ordinary values of a tissue and how uneven it is (standard deviations of its texture)."""

    hu: float
    hu_texture: float
    suv: float
    suv_texture: float
    mr: float
    mr_texture: float


FAT = Tissue(-100, 8, 0.3, 0.05, 1000, 50)
MUSCLE = Tissue(50, 8, 0.7, 0.1, 380, 40)
ORGANS = (
    Tissue(60, 12, 2.0, 0.3, 450, 50),
    Tissue(35, 8, 1.2, 0.3, 300, 40),
    Tissue(10, 4, 0.5, 0.1, 150, 20),
    Tissue(40, 10, 6.0, 1.5, 350, 60),
    FAT,
)
BONE = Tissue(900, 150, 0.6, 0.2, 60, 20)
MARROW = Tissue(150, 60, 1.3, 0.3, 700, 80)
GAS = Tissue(-850, 60, 0.3, 0.1, 15, 5)
LESION = Tissue(40, 18, 8.0, 2.5, 420, 90)
NECROSIS = Tissue(15, 8, 1.2, 0.3, 260, 40)


def phantom(rng: np.random.Generator, shape: tuple[int, int, int] = (48, 64, 64)) -> dict[str, Volume]:
    """Make one body and its three images, in HU, SUV and arbitrary MR units.

    Parameters
    ----------
    rng : the only source of chance.
    shape : voxels (z, y, x); a voxel is taken to be 2 mm wide.
    """
    size = (shape[2], shape[1], shape[0])
    grid = Geometry(size, (2.0, 2.0, 2.0))
    hu, suv, mr = np.full(shape, -1000.0), np.zeros(shape), np.zeros(shape)
    places = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    places += 0.12 * np.stack([_smooth(rng, shape, 10.0) for _ in range(3)])
    shared = _smooth(rng, shape, rng.uniform(0.8, 2.5))
    for where, tissue in _plan(rng, places):
        spread = np.exp(rng.normal(0, 0.15))
        texture = 0.5 * shared + 0.8 * _smooth(rng, shape, rng.uniform(0.8, 3.0))
        hu[where] = (tissue.hu + rng.normal(0, 10) + tissue.hu_texture * texture)[where]
        texture = 0.5 * shared + 0.8 * _smooth(rng, shape, rng.uniform(1.0, 3.0))
        suv[where] = (spread * (tissue.suv + tissue.suv_texture * texture))[where]
        texture = 0.5 * shared + 0.8 * _smooth(rng, shape, rng.uniform(0.8, 3.0))
        mr[where] = (spread * (tissue.mr + tissue.mr_texture * texture))[where]
    # Half of the cohorts match the point-spread functions before fusing: then all three are about as blurred as PET.
    common = float(rng.uniform(0.9, 1.6)) if rng.random() < 0.5 else None
    images = {"CT": _ct(rng, hu, common), "PET": _pet(rng, suv, common), "MR": _mr(rng, mr, common)}
    units = {"CT": "HU", "PET": "SUV", "MR": "a.u."}
    return {name: Volume(image.astype(np.float32), grid, name, units[name]) for name, image in images.items()}


def _plan(rng: np.random.Generator, places: Field3D) -> list[tuple[npt.NDArray[np.bool_], Tissue]]:
    """Regions from the outside in; later ones lie on top."""
    # A small body shows air all around it; a large one fills the field of view, as in an image cropped to a limb.
    radius = rng.uniform(0.7, 1.9, 3)
    centre = rng.uniform(-0.2, 0.2, 3)
    body = _ball(places, centre, radius) < 1
    plan = [(body, FAT), (_ball(places, centre, radius * rng.uniform(0.7, 0.95)) < 1, MUSCLE)]
    for _ in range(rng.integers(4, 10)):
        tissue = ORGANS[rng.integers(len(ORGANS))]
        plan.append((body & (_ball(places, rng.uniform(-0.8, 0.8, 3), rng.uniform(0.1, 0.5, 3)) < 1), tissue))
    for _ in range(rng.integers(1, 4)):
        middle, sides = rng.uniform(-0.7, 0.7, 3), rng.uniform([0.3, 0.08, 0.08], [1.5, 0.25, 0.25])
        distance = _ball(places, middle, sides)
        plan += [(body & (distance < 1), BONE), (body & (distance < rng.uniform(0.4, 0.75)), MARROW)]
    if rng.random() < 0.4:
        plan.append((body & (_ball(places, rng.uniform(-0.7, 0.7, 3), rng.uniform(0.1, 0.5, 3)) < 1), GAS))
    for _ in range(rng.integers(1, 4)):
        distance = _ball(places, rng.uniform(-0.6, 0.6, 3), rng.uniform(0.12, 0.5, 3))
        plan += [(body & (distance < 1), LESION), (body & (distance < rng.uniform(0.0, 0.7)), NECROSIS)]
    return plan


def _ball(places: Field3D, centre: npt.ArrayLike, radius: npt.ArrayLike) -> Field3D:
    """Distance from a centre in units of the radius along each axis."""
    offset = (places - np.reshape(centre, (3, 1, 1, 1))) / np.reshape(radius, (3, 1, 1, 1))
    distance: Field3D = np.sqrt((offset**2).sum(axis=0))
    return distance


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Field3D:
    """Gaussian noise of unit variance, smooth over ``sigma`` voxels."""
    # Very smooth noise is drawn coarse and interpolated: the same look for a fraction of the time.
    step = max(1, int(sigma // 3))
    coarse = tuple(-(-n // step) for n in shape)
    noise = gaussian_filter(rng.normal(size=coarse), sigma / step, mode="reflect")
    if step > 1:
        noise = zoom(noise, [n / c for n, c in zip(shape, coarse, strict=True)], order=1)
    normal: Field3D = (noise - noise.mean()) / max(float(noise.std()), 1e-9)
    return normal


def _ct(rng: np.random.Generator, hu: Field3D, common: float | None) -> Field3D:
    noise = rng.uniform(4, 25) * _smooth(rng, hu.shape, rng.uniform(0.5, 1.0))
    image: Field3D = gaussian_filter(hu, rng.uniform(0.3, 0.7)) + noise
    seen: Field3D = np.maximum(gaussian_filter(image, common) if common else image, -1024)
    return seen


def _pet(rng: np.random.Generator, suv: Field3D, common: float | None) -> Field3D:
    blurred = np.maximum(gaussian_filter(suv, common or rng.uniform(0.9, 1.8)), 0)
    counts = rng.uniform(20, 200)
    # Noise that follows the counts, correlated as reconstruction leaves it.
    noise = np.sqrt(blurred / counts) * _smooth(rng, suv.shape, rng.uniform(0.7, 1.2))
    seen: Field3D = np.maximum(blurred + noise, 0)
    return seen


def _mr(rng: np.random.Generator, mr: Field3D, common: float | None) -> Field3D:
    bias = np.exp(0.1 * _smooth(rng, mr.shape, 15.0))
    signal = gaussian_filter(np.maximum(mr, 0), rng.uniform(0.3, 0.7)) * bias
    noise = rng.uniform(5, 25)
    image: Field3D = np.hypot(signal + rng.normal(0, noise, mr.shape), rng.normal(0, noise, mr.shape))
    seen: Field3D = gaussian_filter(image, common) if common else image
    return seen
