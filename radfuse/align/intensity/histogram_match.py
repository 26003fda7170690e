"""Histogram matching: give an image the grey values of a template."""

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from radfuse.align.intensity import NOTHING_DRAWN, Intensity, Regions, Rescale
from radfuse.align.intensity.landmarks import landmarks_of, piecewise
from radfuse.align.intensity.tissue import BODY, LEGAL, OVER, THRESHOLD
from radfuse.component import KnownFile
from radfuse.data.digest import read_known
from radfuse.data.volume import Volume

PERCENTILES = tuple(float(value) for value in range(1, 100))
HINT = "`sha256sum FILE` tells it. Choose a template that is none of the patients'."


class HistogramMatch(Intensity):
    """Take the image's percentiles 1 to 99 to those of a template image, linearly between them.

    Increasing; beyond the outer percentiles with the gain between them, since single percentiles of a tail are noise.
    The unit is a.u.: it is the template's scale. The air around the template, or the zeros around an organ cut out, are
    below the threshold and do not count. A template out of the cohort under test is refused by `radfuse train`.
    """

    reads: ClassVar[str] = "template"

    method: Literal["histogram_match"] = "histogram_match"
    template: KnownFile = Field("", description="Image whose grey values are to be had: .nii, .nii.gz, .nrrd or .mha.")
    sha256: str = Field("", description="SHA-256 of that file; results are remembered under it.")
    over: str = Field(BODY, description=OVER, pattern=LEGAL)
    threshold: float = Field(0.1, ge=0.0, lt=1.0, description=f"{THRESHOLD} The template's by the same.")

    @model_validator(mode="after")
    def _certain(self) -> "HistogramMatch":
        if not self.template or len(self.sha256) != 64:
            raise ValueError(f"histogram_match needs `template` and its `sha256` (64 hexadecimal digits). {HINT}")
        return self

    def build(self) -> Rescale:
        """Give the function; reads the template."""
        from radfuse.data.reading.images import read_volume

        read_known(Path(self.template), self.sha256, "template", HINT)
        template = read_volume(Path(self.template), "template", "a.u.")
        _, target = landmarks_of(template, NOTHING_DRAWN, PERCENTILES, BODY, self.threshold)

        def rescale(volume: Volume, regions: Regions = NOTHING_DRAWN) -> Volume:
            values, own = landmarks_of(volume, regions, PERCENTILES, self.over, self.threshold)
            gain = float((target[-1] - target[0]) / (own[-1] - own[0]))
            return volume.with_array(piecewise(values, own, target, gain).astype(np.float32), "a.u.")

        return rescale

    def looked_at(self) -> frozenset[str]:
        """Give the SHA-256 of the template."""
        return frozenset({self.sha256})
