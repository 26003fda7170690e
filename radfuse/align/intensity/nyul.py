"""Nyul's standard scale: landmarks of the histogram, learned from other patients, say where grey values belong."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from radfuse.align.intensity import NOTHING_DRAWN, Intensity, Regions, Rescale
from radfuse.align.intensity.landmarks import Landmarks, landmarks_of, parse_landmarks, piecewise
from radfuse.component import KnownFile
from radfuse.data.digest import read_known
from radfuse.data.volume import Volume
from radfuse.errors import ConfigError

HINT = "Make landmarks with `radfuse landmarks`; it prints the lines for the config."


class Nyul(Intensity):
    """Take the image's percentiles to learned standard values, linearly between them [Nyul, Udupa & Zhang 2000].

    Strictly increasing; the unit is a.u., 0 to 100 between the outer landmarks. The landmarks come from a file that
    `radfuse landmarks` learns from images of other patients: a scale learned from the cohort under test would carry
    every fold's validation images into its training images, and `radfuse train` refuses it.
    """

    reads: ClassVar[str] = "landmarks"

    method: Literal["nyul"] = "nyul"
    landmarks: KnownFile = Field("", description="File of `radfuse landmarks`, which also says where to look (`over`).")
    sha256: str = Field("", description="SHA-256 that the file must have; results are remembered under it.")

    @model_validator(mode="after")
    def _certain(self) -> "Nyul":
        if not self.landmarks or len(self.sha256) != 64:
            raise ValueError(f"nyul needs `landmarks` and their `sha256` (64 hexadecimal digits). {HINT}")
        return self

    def build(self) -> Rescale:
        """Give the function; reads the landmarks."""
        standard = self.read()
        target = np.asarray(standard.values)

        def rescale(volume: Volume, regions: Regions = NOTHING_DRAWN) -> Volume:
            values, own = landmarks_of(volume, regions, standard.percentiles, standard.over, standard.threshold)
            return volume.with_array(piecewise(values, own, target).astype(np.float32), "a.u.")

        return rescale

    def require_after(self, before: Sequence[str]) -> None:
        """Raise a ConfigError where the landmarks were learned after other steps than these."""
        learned = self.read().before
        if learned != tuple(before):
            raise ConfigError(
                f"landmarks {self.landmarks} were learned after {'+'.join(learned) or 'no step'}, and here nyul comes "
                f"after {'+'.join(before) or 'none'}",
                hint="Give the steps in that order, or learn landmarks again with `radfuse landmarks --before`.",
            )

    def looked_at(self) -> frozenset[str]:
        """Give the SHA-256 of the images that the landmarks were learned from."""
        return frozenset(self.read().images)

    def read(self) -> Landmarks:
        """Read the file of landmarks."""
        return parse_landmarks(read_known(Path(self.landmarks), self.sha256, "landmarks", HINT), self.landmarks)
