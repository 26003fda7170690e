"""Average under the weights of the first principal component."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, NonNegativeFloat

from radfuse.data.geometry import Geometry
from radfuse.fuse import Array, Fuser, FusionMethod


class PrincipalComponent(FusionMethod):
    """Average with the first principal component's loadings as weights [Naidu & Raol, Def Sci J 58:338, 2008].

    The leading eigenvector of the sources' covariance, by magnitude and scaled to add up to 1, weighs the volumes: the
    source that varies more inside the body counts for more. It is found anew for each patient. Sources that neither
    vary nor vary together share the weight.

    Differs from the paper: the covariance is the body's, not the whole picture's, else it would measure how much air
    there is; any number of sources.
    """

    flip_equivariant: ClassVar[bool] = True
    permutation_equivariant: ClassVar[bool] = True
    voxelwise_identity: ClassVar[bool] = True
    context_voxels: ClassVar[int | None] = None

    method: Literal["pca"] = "pca"
    body_above: NonNegativeFloat = Field(
        0.1, description="Body is where any source exceeds this on the normalised scale; 0.1 is -824 HU, SUV 2."
    )

    def build(self, device: str) -> Fuser:
        """Make the fuser."""
        return Fuser(self._combine)

    def _combine(self, volumes: Sequence[Array], names: Sequence[str], grid: Geometry) -> Array:
        body = np.maximum.reduce(list(volumes)) > self.body_above
        weights = loadings([volume[body] for volume in volumes])
        # In terms of differences from the first source, so that equal sources give exactly themselves.
        fused = volumes[0].copy()
        for volume, weight in zip(volumes[1:], weights[1:], strict=True):
            fused += np.float32(weight) * (volume - volumes[0])
        return fused


def loadings(samples: Sequence[Array]) -> npt.NDArray[np.float64]:
    """Give the magnitudes of the covariance's leading eigenvector, scaled to add up to 1.

    Parameters
    ----------
    samples : the values of each source at the same voxels; equal weights where fewer than two or all the same.

    Examples
    --------
    >>> loadings([np.array([0, 3, 0, 3], np.float32), np.array([0, 1, 0, 1], np.float32)])
    array([0.75, 0.25])
    """
    even = np.full(len(samples), 1 / len(samples))
    if samples[0].size < 2:
        return even
    centred = [sample.astype(np.float64) - sample.mean(dtype=np.float64) for sample in samples]
    # Sums of products rather than a matrix product, whose last bits depend on the number of threads.
    covariance = np.array([[(a * b).mean() for b in centred] for a in centred])
    values, vectors = np.linalg.eigh(covariance)
    if values[-1] <= 1e-12:
        return even
    leading = np.abs(vectors[:, -1])
    weights: npt.NDArray[np.float64] = leading / leading.sum()
    return weights
