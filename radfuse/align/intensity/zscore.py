"""Z-score: the scale of an MR image is arbitrary, its spread inside the patient is less so."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from radfuse.align.intensity import NOTHING_DRAWN, Intensity, Regions, Rescale
from radfuse.align.intensity.tissue import BODY, LEGAL, OVER, THRESHOLD, finite_values, require_spread, voxels_over
from radfuse.data.volume import Volume


class ZScore(Intensity):
    """Subtract the mean of the body, or of a reference tissue, and divide by its standard deviation; the unit is z."""

    linear: ClassVar[bool] = True

    method: Literal["zscore"] = "zscore"
    over: str = Field(BODY, description=OVER, pattern=LEGAL)
    threshold: float = Field(0.1, ge=0.0, lt=1.0, description=THRESHOLD)

    def build(self) -> Rescale:
        """Give the function; the statistics are those of the volume it is given."""

        def rescale(volume: Volume, regions: Regions = NOTHING_DRAWN) -> Volume:
            values = finite_values(volume)
            tissue = values[voxels_over(volume, values, regions, self.over, self.threshold)]
            spread = float(tissue.std()) if tissue.size else 0.0
            require_spread(volume, values, tissue.size, spread, self.over)
            scaled = (values - float(tissue.mean())) / spread
            return volume.with_array(scaled.astype(np.float32), "z")

        return rescale
