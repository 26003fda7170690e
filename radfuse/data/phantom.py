"""A cohort with a known truth: CT and PET of a small body with a lesion, made from a seed.

What is planted, and can therefore be asked back:

- the outcome depends on two independent latent signals, one that only the lesion's CT texture carries and one that
  only its PET uptake carries, so neither modality alone can know it;
- the content of PET is shifted against its header by a known distance;
- each site changes gain, offset and noise of its modality, in the voxels, with no regard to the outcome;
- age, sex and grade shift the images too, and age goes with the PET site, but none of them with the outcome;
- each modality has its own voxel size and its own point-spread function.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from radfuse.data.geometry import Geometry
from radfuse.data.subject import Subject
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask, Volume
from radfuse.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

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
    """An ellipsoid in the body; positions and semi-axes in millimetres, values in HU and SUV."""

    name: str
    centre_mm: Triple
    axes_mm: Triple
    hu: float
    suv: float


# Drawn in this order, the later over the earlier. The body is closed at both ends, so that a shift along z shows.
ORGANS = (
    Organ("skin and fat", (0.0, 0.0, 0.0), (32.0, 29.0, 24.0), -90.0, 0.3),
    Organ("muscle", (0.0, 0.0, 0.0), (28.0, 25.0, 21.0), 50.0, 0.8),
    Organ("bone", (18.0, -9.0, 0.0), (5.0, 5.0, 14.0), 500.0, 1.6),
    Organ("liver", (14.0, 12.0, 2.0), (7.0, 6.0, 9.0), 100.0, 2.5),
    Organ("gas", (-4.0, -20.0, -3.0), (6.0, 4.0, 7.0), -800.0, 0.1),
)
AIR_HU, WATER_HU = -1000.0, 0.0

# Steps of Roberts' R3 sequence (2018): points that fill the unit cube evenly however many are drawn.
_PLASTIC = 1.2207440846057596
R3 = np.array([_PLASTIC**-1, _PLASTIC**-2, _PLASTIC**-3])


@dataclass(frozen=True)
class Truth:
    """What was planted in one subject.

    Parameters
    ----------
    latent_ct : the signal in the CT texture, standard normal.
    latent_pet : the signal in the PET uptake, standard normal, independent of ``latent_ct``.
    linear_predictor : log odds of the outcome; no model can do better than to rank by it (the oracle).
    shift_mm : how far the content of PET lies from where its header says, x, y, z.
    """

    latent_ct: float
    latent_pet: float
    linear_predictor: float
    shift_mm: Triple

    @property
    def transform(self) -> Transform:
        """The transform from CT's space to PET's that registration should find."""
        matrix = np.eye(4)
        matrix[:3, 3] = self.shift_mm
        return Transform.from_array(matrix)

    @property
    def row(self) -> dict[str, float]:
        """The truth as one row of a table."""
        x, y, z = self.shift_mm
        return {
            "latent_ct": self.latent_ct,
            "latent_pet": self.latent_pet,
            "linear_predictor": self.linear_predictor,
            "shift_x_mm": x,
            "shift_y_mm": y,
            "shift_z_mm": z,
        }


@dataclass(frozen=True, eq=False)
class PhantomSubject:
    """One made patient: the scans, what a clinic would know, and the truth.

    Parameters
    ----------
    scans : volumes and masks as a scanner gives them, each on its own grid.
    facts : outcome (0 or 1), age in years, sex, grade, and the site of each modality. Age, sex and grade shift the
        images and have nothing to do with the outcome.
    truth : what nobody is told.
    """

    scans: Subject
    facts: dict[str, float | int | str]
    truth: Truth


@dataclass(frozen=True, eq=False)
class PhantomCohort:
    """Every patient of a phantom.

    Parameters
    ----------
    subjects : the scans.
    clinical : indexed by subject: outcome, age, sex, grade, scanner_ct, scanner_pet.
    truth : indexed by subject: the fields of `Truth`, the shift as shift_x_mm, shift_y_mm, shift_z_mm.
    """

    subjects: tuple[Subject, ...]
    clinical: pd.DataFrame
    truth: pd.DataFrame


@dataclass(frozen=True)
class Phantom:
    """Make a cohort; the seed decides everything, and a subject does not depend on how many others there are.

    Parameters
    ----------
    subjects : how many patients.
    seed : another seed is another cohort of the same kind.
    strength : log odds of the outcome per unit of either latent signal; 0 makes a cohort without any truth in it.
    site_effect : 0 makes all scanners alike, 1 is the full difference.

    Examples
    --------
    >>> patient = Phantom(subjects=2, seed=7).subject(1)
    >>> sorted(patient.scans.volumes), patient.scans.volumes["CT"].array.dtype.name
    (['CT', 'PET'], 'int16')
    """

    subjects: int = 60
    seed: int = 0
    strength: float = 2.0
    site_effect: float = 1.0

    def __post_init__(self) -> None:
        if self.subjects < 1 or self.seed < 0:
            raise ConfigError(f"a phantom needs subjects >= 1 and seed >= 0, found {self.subjects} and {self.seed}")

    @property
    def fwhm_mm(self) -> dict[str, Triple]:
        """The point-spread function of each modality, x, y, z."""
        return {name: modality.fwhm_mm for name, modality in MODALITIES.items()}

    def cohort(self) -> PhantomCohort:
        """Make all patients."""
        import pandas as pd

        patients = [self.subject(number) for number in range(self.subjects)]
        index = pd.Index([patient.scans.id for patient in patients], name="subject")
        return PhantomCohort(
            subjects=tuple(patient.scans for patient in patients),
            clinical=pd.DataFrame([patient.facts for patient in patients], index=index),
            truth=pd.DataFrame([patient.truth.row for patient in patients], index=index),
        )

    def subject(self, number: int) -> PhantomSubject:
        """Make one patient."""
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(number,)))
        latent_ct, latent_pet, chance = self._design(number)
        age, sex, grade = rng.normal(60.0, 10.0), "FM"[rng.integers(2)], int(rng.integers(1, 4))
        age = float(np.clip(age, 30.0, 90.0))
        predictor = self.strength * (latent_ct + latent_pet)
        truth = Truth(latent_ct, latent_pet, predictor, _shift_mm(rng))
        sites = {CT: _site(CT, rng), PET: _site(PET, rng, age)}
        lesion = _lesion(rng)
        person = {"age": (age - 60.0) / 10.0, "sex": 1.0 if sex == "F" else -1.0, "grade": grade - 2.0}
        volumes, masks = {}, {}
        for name, shift_mm in ((CT, (0.0, 0.0, 0.0)), (PET, truth.shift_mm)):
            volumes[name], masks[name] = self._scan(name, lesion, shift_mm, truth, person, sites[name], rng)
        return PhantomSubject(
            scans=Subject(f"phantom-{number + 1:03d}", volumes, masks),
            facts={
                "outcome": int(chance < 1.0 / (1.0 + np.exp(-predictor))),
                "age": round(age, 1),
                "sex": sex,
                "grade": grade,
                "scanner_ct": sites[CT].label,
                "scanner_pet": sites[PET].label,
            },
            truth=truth,
        )

    def _design(self, number: int) -> tuple[float, float, float]:
        """Place a subject in the even design: both latent signals, and the chance that decides the outcome.

        Even points make a cohort of 60 as balanced as a random one of several hundred, and the order in which they
        come does not depend on how many there are.
        """
        start = np.random.default_rng(np.random.SeedSequence(self.seed)).random(3)
        place = (start + (number + 1) * R3) % 1.0
        normal = NormalDist()
        ct, pet = (normal.inv_cdf(min(max(float(p), 1e-6), 1 - 1e-6)) for p in place[:2])
        return ct, pet, float(place[2])

    def _scan(
        self,
        name: str,
        lesion: Organ,
        shift_mm: Triple,
        truth: Truth,
        person: dict[str, float],
        site: Site,
        rng: np.random.Generator,
    ) -> tuple[Volume, Mask]:
        modality = MODALITIES[name]
        fine = _refined(modality)
        points = _points_mm(fine) - np.asarray(shift_mm)
        texture = _unit_texture(fine, 3.0 if name == CT else 6.0, rng)
        ideal = _draw_ct if name == CT else _draw_pet
        blurred = _blur(ideal(points, lesion, texture, truth, person), fine, modality.fwhm_mm)
        rx, ry, rz = modality.refine
        sampled = blurred[rz // 2 :: rz, ry // 2 :: ry, rx // 2 :: rx]
        measured = self._through_site(name, sampled, site, rng)
        inside = _occupancy(_points_mm(modality.grid) - np.asarray(shift_mm), lesion) >= 0.5
        volume = Volume(measured, modality.grid, name, "HU" if name == CT else "SUV")
        return volume, Mask(inside.astype(np.uint8), modality.grid)

    def _through_site(self, name: str, ideal: Array, site: Site, rng: np.random.Generator) -> npt.NDArray[np.generic]:
        gain = 1.0 + self.site_effect * (site.gain - 1.0)
        offset = self.site_effect * site.offset
        noise = rng.standard_normal(ideal.shape)
        if name == CT:
            tissue = ideal > -200.0  # scanners agree on air, and differ in tissue
            hu = np.where(tissue, gain * (ideal - WATER_HU) + WATER_HU + offset, ideal) + site.noise * noise
            return np.rint(np.clip(hu, -1024, 3071)).astype(np.int16)
        suv = gain * ideal + offset * (ideal > 0.1)
        return np.maximum(suv + site.noise * np.sqrt(np.maximum(suv, 0.0)) * noise, 0.0).astype(np.float32)


def _shift_mm(rng: np.random.Generator) -> Triple:
    """Draw a shift of 3 to 8 mm in any direction."""
    direction = rng.standard_normal(3)
    x, y, z = direction / np.linalg.norm(direction) * rng.uniform(3.0, 8.0)
    return float(x), float(y), float(z)


def _site(name: str, rng: np.random.Generator, age_years: float | None = None) -> Site:
    """Draw a site, evenly; with an age, older patients go more often to the later sites."""
    sites = MODALITIES[name].sites
    lean = 0.0 if age_years is None else (age_years - 60.0) / 20.0
    weights = np.exp(lean * (np.arange(len(sites)) - (len(sites) - 1) / 2))
    return sites[int(rng.choice(len(sites), p=weights / weights.sum()))]


def _lesion(rng: np.random.Generator) -> Organ:
    x, y, z = rng.uniform(-2.5, 2.5, 3)
    a, b, c = rng.uniform(10.0, 12.5, 3)
    return Organ("lesion", (-8.0 + float(x), float(y), float(z)), (float(a), float(b), float(c)), 40.0, 5.0)


def _refined(modality: Modality) -> Geometry:
    """Put the voxel centres of a grid among finer ones."""
    grid, refine = modality.grid, np.asarray(modality.refine)
    spacing = np.asarray(grid.spacing_mm) / refine
    origin = np.asarray(grid.origin_mm) - spacing * (refine // 2)
    nx, ny, nz = (int(n) for n in np.asarray(grid.size) * refine)
    return Geometry((nx, ny, nz), tuple(map(float, spacing)), tuple(map(float, origin)))  # type: ignore[arg-type]


def _points_mm(grid: Geometry) -> Array:
    """Voxel centres, shape (z, y, x, 3) with the last axis in x, y, z order; for grids along the axes."""
    axes = [o + s * np.arange(n) for o, s, n in zip(grid.origin_mm, grid.spacing_mm, grid.size, strict=True)]
    z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    return np.stack([x, y, z], axis=-1)


def _occupancy(points: Array, organ: Organ) -> Array:
    """How much of each point belongs to an ellipsoid: 1 inside, 0 outside, a ramp of 1 mm between."""
    scaled = (points - np.asarray(organ.centre_mm)) / np.asarray(organ.axes_mm)
    radius = np.linalg.norm(scaled, axis=-1)
    depth_mm = (1.0 - radius) * min(organ.axes_mm)
    share: Array = np.clip(depth_mm + 0.5, 0.0, 1.0)
    return share


def _draw_ct(points: Array, lesion: Organ, texture: Array, truth: Truth, person: dict[str, float]) -> Array:
    image = np.full(points.shape[:-1], AIR_HU)
    for organ in ORGANS:
        image = _over(image, _occupancy(points, organ), organ.hu)
    mean = lesion.hu + 3.0 * person["sex"] - 3.0 * person["age"]
    spread = 24.0 * np.exp(0.45 * truth.latent_ct + 0.06 * person["grade"])
    return _over(image, _occupancy(points, lesion), mean + spread * texture)


def _draw_pet(points: Array, lesion: Organ, texture: Array, truth: Truth, person: dict[str, float]) -> Array:
    image = np.zeros(points.shape[:-1])
    for organ in ORGANS:
        image = _over(image, _occupancy(points, organ), organ.suv)
    level = lesion.suv * np.exp(0.40 * truth.latent_pet - 0.06 * person["age"] + 0.06 * person["grade"])
    return _over(image, _occupancy(points, lesion), level * (1.0 + 0.25 * texture))


def _over(below: Array, share: Array, value: float | Array) -> Array:
    return below + share * (value - below)


def _unit_texture(grid: Geometry, fwhm_mm: float, rng: np.random.Generator) -> Array:
    """Smooth noise of mean 0 and standard deviation 1 over the grid."""
    smooth = _blur(rng.standard_normal(grid.shape), grid, (fwhm_mm, fwhm_mm, fwhm_mm))
    unit: Array = (smooth - smooth.mean()) / smooth.std()
    return unit


def _blur(image: Array, grid: Geometry, fwhm_mm: Triple) -> Array:
    """Convolve with a Gaussian of this full width at half maximum along x, y, z."""
    from scipy.ndimage import gaussian_filter

    sigma = np.asarray(fwhm_mm) / np.sqrt(8.0 * np.log(2.0)) / np.asarray(grid.spacing_mm)
    blurred: Array = gaussian_filter(image, sigma[::-1], mode="nearest")
    return blurred
