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

from radfuse.data.phantom_body import CT, MODALITIES, PET, Organ, Site, Triple, scan
from radfuse.data.subject import Subject
from radfuse.data.transform import Transform
from radfuse.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

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
class _Person:
    """What the images of one patient are drawn from."""

    truth: Truth
    facts: dict[str, float | int | str]
    sites: dict[str, Site]
    lesion: Organ


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
    strength: float = 2.5
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
        person, rng = self._person(number)
        volumes, masks = {}, {}
        for name, shift_mm in ((CT, (0.0, 0.0, 0.0)), (PET, person.truth.shift_mm)):
            volumes[name], masks[name] = scan(name, person.lesion, shift_mm, person.sites[name], self.site_effect, rng)
        return PhantomSubject(Subject(f"phantom-{number + 1:03d}", volumes, masks), person.facts, person.truth)

    def facts(self, number: int) -> dict[str, float | int | str]:
        """What a clinic would know of a patient, without drawing the images."""
        return self._person(number)[0].facts

    def _person(self, number: int) -> tuple[_Person, np.random.Generator]:
        """Draw all but the images; the generator goes on to draw those."""
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(number,)))
        latent_ct, latent_pet, chance = self._design(number)
        age = round(float(np.clip(rng.normal(60.0, 10.0), 30.0, 90.0)), 1)
        sex, grade = "FM"[rng.integers(2)], int(rng.integers(1, 4))
        predictor = self.strength * (latent_ct + latent_pet)
        truth = Truth(latent_ct, latent_pet, predictor, _shift_mm(rng))
        sites = {CT: _site(CT, rng), PET: _site(PET, rng, age)}
        facts: dict[str, float | int | str] = {
            "outcome": int(chance < 1.0 / (1.0 + np.exp(-predictor))),
            "age": age,
            "sex": sex,
            "grade": grade,
            "scanner_ct": sites[CT].label,
            "scanner_pet": sites[PET].label,
        }
        effects = ((age - 60.0) / 10.0, 1.0 if sex == "F" else -1.0, grade - 2.0)
        return _Person(truth, facts, sites, _lesion(truth, effects, rng)), rng

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


def _lesion(truth: Truth, effects: Triple, rng: np.random.Generator) -> Organ:
    """Plant the signals: CT's in the spread of the texture, PET's in the uptake. Facts shift them a little."""
    age, sex, grade = effects
    x, y, z = rng.uniform(-2.5, 2.5, 3)
    a, b, c = rng.uniform(10.0, 12.5, 3)
    return Organ(
        "lesion",
        (-8.0 + float(x), float(y), float(z)),
        (float(a), float(b), float(c)),
        hu=40.0 + 3.0 * sex - 3.0 * age,
        suv=5.0 * float(np.exp(0.40 * truth.latent_pet - 0.06 * age + 0.06 * grade)),
        hu_spread=24.0 * float(np.exp(0.45 * truth.latent_ct + 0.06 * grade)),
        suv_spread=0.25,
    )
