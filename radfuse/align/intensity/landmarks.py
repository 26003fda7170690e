"""Landmarks of histograms: percentiles of one image, what many images have in common, and the map between two sets.

Sources: Nyul & Udupa, Magn Reson Med 42:1072 (1999); Nyul, Udupa & Zhang, IEEE Trans Med Imaging 19:143 (2000).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from radfuse.align.intensity import Regions
from radfuse.align.intensity.tissue import (
    BODY,
    LEGAL,
    OVER,
    THRESHOLD,
    Values,
    finite_values,
    require_spread,
    voxels_over,
)
from radfuse.component import Frozen, describe
from radfuse.data.volume import Volume
from radfuse.errors import ConfigError

DECILES = (1.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 99.0)
"""Both ends without the tail of vessels and artefacts, and the deciles between [Nyul 2000]."""

SCALE = (0.0, 100.0)
"""Where the outer landmarks of every image go; any other scale would be a gain and an offset away."""


class Landmarks(Frozen):
    """A standard scale, as the file holds it.

    The file says of which images it was learned, by the SHA-256 of their files: what learned from a patient must not
    prepare the images on which that patient is judged.
    """

    kind: Literal["radfuse landmarks"] = Field("radfuse landmarks", description="What the file is.")
    modality: str = Field("", description="The modality that it was learned on.")
    percentiles: tuple[float, ...] = Field(DECILES, description="Which percentiles are landmarks, ascending.")
    values: tuple[float, ...] = Field(description="Where each of them goes on the standard scale, ascending.")
    over: str = Field(BODY, description=OVER, pattern=LEGAL)
    threshold: float = Field(0.1, ge=0.0, lt=1.0, description=THRESHOLD)
    before: tuple[str, ...] = Field((), description="Steps that every image passed before, such as n4.")
    images: tuple[str, ...] = Field((), description="SHA-256 of the image files that it was learned from.")

    @model_validator(mode="after")
    def _in_order(self) -> Landmarks:
        if len(self.percentiles) != len(self.values) or len(self.values) < 2:
            raise ValueError(f"{len(self.percentiles)} percentiles and {len(self.values)} values, expected as many")
        if min(np.diff(self.percentiles)) <= 0 or min(np.diff(self.values)) <= 0:
            raise ValueError("percentiles and values must ascend")
        if not 0 <= self.percentiles[0] < self.percentiles[-1] <= 100:
            raise ValueError(f"percentiles lie between 0 and 100, found {self.percentiles}")
        return self


def landmarks_of(
    volume: Volume, regions: Regions, percentiles: Sequence[float], over: str, threshold: float
) -> tuple[Values, Values]:
    """Give the volume's voxels as float64, and the percentiles of those that are looked at.

    Parameters
    ----------
    percentiles : in percent, ascending.
    over, threshold : see `tissue`.
    """
    values = finite_values(volume)
    tissue = values[voxels_over(volume, values, regions, over, threshold)]
    found: Values = np.percentile(tissue, percentiles) if tissue.size else np.zeros(len(percentiles))
    require_spread(volume, values, tissue.size, float(found[-1] - found[0]), over)
    return values, found


def learn(found: Sequence[Values]) -> Values:
    """Average the landmarks of many images on the standard scale.

    Each image's outer landmarks go to the ends of the scale, those between follow linearly, and each landmark's mean
    over the images is its standard value [Nyul & Udupa 1999, training step].

    Examples
    --------
    >>> learn([np.array([0.0, 10.0, 20.0]), np.array([100.0, 130.0, 200.0])]).tolist()
    [0.0, 40.0, 100.0]
    """
    low, high = SCALE
    mapped = [low + (each - each[0]) / (each[-1] - each[0]) * (high - low) for each in found]
    mean: Values = np.mean(mapped, axis=0)
    return mean


def piecewise(values: Values, source: Values, target: Values, gain: float | None = None) -> Values:
    """Take each landmark of an image to its standard value, linearly between them.

    Landmarks that coincide in the image share the mean of their standard values. Beyond the outer landmarks the line
    goes on with the slope of the outermost piece, or with the given gain.

    Examples
    --------
    >>> piecewise(np.array([-1.0, 0.0, 5.0, 10.0, 12.0]), np.array([0.0, 10.0]), np.array([0.0, 100.0])).tolist()
    [-10.0, 0.0, 50.0, 100.0, 120.0]
    """
    x, place = np.unique(source, return_inverse=True)
    y = np.bincount(place, target) / np.bincount(place)
    first, last = (
        (gain, gain) if gain is not None else ((y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2]))
    )
    inner = np.interp(values, x, y)
    mapped: Values = inner + first * np.minimum(values - x[0], 0.0) + last * np.maximum(values - x[-1], 0.0)
    return mapped


def parse_landmarks(content: bytes, source: str) -> Landmarks:
    """Read the JSON that `radfuse landmarks` writes."""
    try:
        return Landmarks.model_validate_json(content)
    except ValidationError as error:
        raise ConfigError(
            f"{source} holds no landmarks: {'; '.join(describe(error, Landmarks))}",
            hint="Make them with `radfuse landmarks`.",
        ) from error
