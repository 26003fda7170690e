"""Z-score over the body: the scale of an MR image is arbitrary, its spread inside the patient is less so."""

from typing import Literal

import numpy as np
from pydantic import Field

from radfuse.align.intensity import Intensity, Rescale
from radfuse.data.volume import Volume
from radfuse.errors import DataError


class ZScore(Intensity):
    """Subtract the mean of the body and divide by its standard deviation."""

    method: Literal["zscore"] = "zscore"
    threshold: float = Field(
        0.1,
        ge=0.0,
        lt=1.0,
        description="Body is what exceeds this share of the way from the minimum to the 99th percentile. "
        "Otsu's threshold would split fat from muscle where a limb fills the image.",
    )

    def build(self) -> Rescale:
        """Give the function; the statistics are those of the volume it is given."""

        def rescale(volume: Volume) -> Volume:
            values = volume.array.astype(np.float64)
            if not np.isfinite(values).all():
                count = int((~np.isfinite(values)).sum())
                raise DataError(f"{volume.modality} has {count} voxels that are not finite, expected none")
            low, high = float(values.min()), float(np.percentile(values, 99))
            body = values[values > low + self.threshold * (high - low)]
            spread = float(body.std()) if body.size else 0.0
            if spread <= 1e-6 * max(1e-30, float(np.abs(values).max())):
                raise DataError(
                    f"{volume.modality} has zero variance over {body.size} body voxels, expected an image",
                    hint="Is the scan blank? Set align.intensity for this modality to physical to keep it.",
                )
            scaled = (values - float(body.mean())) / spread
            return volume.with_array(scaled.astype(np.float32), "z")

        return rescale
