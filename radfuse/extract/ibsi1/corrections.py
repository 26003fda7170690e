"""Where PyRadiomics' features depart from the reference manual, and what is done about it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from radfuse.extract.ibsi1.families import tones
from radfuse.extract.ibsi1.families.lattice import directions
from radfuse.extract.ibsi1.families.matrix import Matrix
from radfuse.extract.native.texture import Places, Texture


def sample_axes(values: Mapping[str, float], voxels: int) -> dict[str, float]:
    """Give shape features with the axes of a sample's covariance (manual 3.1); their ratios stay as they are."""
    scale = (voxels / (voxels - 1)) ** 0.5 if voxels > 1 else float("nan")
    axes = ("MajorAxisLength", "MinorAxisLength", "LeastAxisLength")
    return {name: value * scale if name in axes else value for name, value in values.items()}


def excess_kurtosis(values: Mapping[str, float]) -> dict[str, float]:
    """Give first order features with IBSI's kurtosis (IPH6), 0 for a normal distribution and where all are equal."""
    flat = values.get("Minimum") == values.get("Maximum")
    return {name: value - 3.0 if name == "Kurtosis" and not flat else value for name, value in values.items()}


def places_of(region: npt.NDArray[np.bool_], settings: Mapping[str, Any]) -> Places:
    """Give the places of a region with a run in every direction (manual 3.7).

    PyRadiomics leaves out directions in which no line has two voxels.
    """
    places = Places(region, settings)
    places.step_angles = directions(bool(settings.get("force2D", False)))
    places.several_on_a_line = np.ones(len(places.step_angles), np.bool_)
    return places


def grey_tone_differences(texture: Texture) -> dict[str, float]:
    """Give NGTDM's features of voxels that have neighbours (manual 3.10); PyRadiomics counts the others too."""
    places = texture.places
    counts = texture.surroundings[1].copy()
    lonely = places.flat[places.neighbour_counts[places.flat] == 0]
    counts[:, 0] -= np.bincount(texture.rows[lonely] - 1, minlength=len(counts))
    matrix = Matrix(counts[None], texture.greys, np.array([0.0, 1.0]), places.flat.size)
    found = tones.features(matrix, texture.greatest)
    return {name.capitalize(): float(value[0]) if value.size else float("nan") for name, value in found.items()}
