"""The feature classes of one image, each a table of voxels by features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from radfuse.extract.native.texture import GLCM, GLDM, GLRLM, GLSZM
from radfuse.extract.voxelwise import cooccurrence, intensities, matrices
from radfuse.extract.voxelwise.independence import imc2_means
from radfuse.extract.voxelwise.kernels import COMPILED, Kernels
from radfuse.extract.voxelwise.neighbourhood import Levels, Neighbourhood, slabs

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

NGTDM = ("Coarseness", "Contrast", "Busyness", "Complexity", "Strength")
NAMES: dict[str, tuple[str, ...]] = {
    "firstorder": intensities.NAMES,
    "glcm": (*GLCM, "MCC"),
    "gldm": GLDM,
    "glrlm": GLRLM,
    "glszm": GLSZM,
    "ngtdm": NGTDM,
}


@dataclass(frozen=True)
class Classes:
    """What the classes are computed from.

    Parameters
    ----------
    texture : grey levels that textures are made of.
    intensity : grey levels that first order counts; PyRadiomics cuts them in double precision.
    values : intensities at the places of ``intensity``.
    neighbourhood : the cells around each voxel.
    first_order_steps : the same cells in PyRadiomics' order, as steps in ``intensity``.
    settings : PyRadiomics settings.
    voxel_mm3 : volume of a voxel.
    threads : how many threads share the voxels; no number depends on it.
    kernels : who computes.
    """

    texture: Levels
    intensity: Levels
    values: Floats
    neighbourhood: Neighbourhood
    first_order_steps: npt.NDArray[np.int64]
    settings: Mapping[str, Any]
    voxel_mm3: float
    threads: int = 1
    kernels: Kernels = COMPILED

    def features(self, feature_class: str, wanted: set[str]) -> dict[str, Floats]:
        """Give the wanted features of a class by name, one value for each voxel."""
        table = getattr(self, f"_{feature_class}")(wanted)
        return {name: table[:, index] for index, name in enumerate(NAMES[feature_class]) if name in wanted}

    def _firstorder(self, wanted: set[str]) -> Floats:
        grey = self.intensity
        shift = float(self.settings.get("voxelArrayShift", 0))
        return self._filled(
            len(intensities.NAMES),
            lambda part, out: self.kernels.intensity_maps(
                grey.grey, self.values, grey.centres[part], self.first_order_steps, grey.greatest, shift,
                self.voxel_mm3, out,
            ),
        )  # fmt: skip

    def _glcm(self, wanted: set[str]) -> Floats:
        grey, pairs = self.texture, self.neighbourhood.pairs
        steps = grey.steps(self.neighbourhood)
        symmetric = bool(self.settings.get("symmetricalGLCM", True))
        weights, starts = np.ones(pairs.first.size), pairs.starts
        directions = self.neighbourhood.pair_weights()
        if directions is not None:
            weights = np.repeat(directions, np.diff(starts))
            starts = np.array([0, pairs.first.size])
        used = np.zeros(grey.centres.size, np.int64)
        independent = np.zeros((grey.centres.size, starts.size - 1), np.bool_)
        table = self._filled(
            cooccurrence.FEATURES,
            lambda part, out: self.kernels.cooccurrence_maps(
                grey.grey, grey.centres[part], steps, grey.greatest, pairs.first, pairs.second, starts, weights,
                symmetric, "MCC" in wanted, out, used[part], independent[part],
            ),
        )  # fmt: skip
        imc2 = NAMES["glcm"].index("Imc2")
        mean = imc2_means(
            table[:, imc2], used, independent,
            lambda voxels, which: cooccurrence.marginals(
                grey.grey, grey.centres[voxels], steps, pairs.first, pairs.second, starts, which, symmetric
            ),
        )  # fmt: skip
        with np.errstate(invalid="ignore", divide="ignore"):
            table /= used[:, None]
        table[:, imc2] = mean
        if np.unique(grey.grey).size == 2:  # nothing and one level: PyRadiomics has no second eigenvalue to look at
            table[:, cooccurrence.MCC] = 1.0
        return table

    def _gldm(self, wanted: set[str]) -> Floats:
        alpha = int(self.settings.get("gldm_a", 0))
        return self._of_pairs(self.kernels.dependence_maps, self.neighbourhood.pairs, matrices.SIZES, alpha)

    def _glszm(self, wanted: set[str]) -> Floats:
        return self._of_pairs(self.kernels.zone_maps, self.neighbourhood.touching, matrices.SIZES)

    def _ngtdm(self, wanted: set[str]) -> Floats:
        return self._of_pairs(self.kernels.tone_maps, self.neighbourhood.pairs, matrices.TONES)

    def _glrlm(self, wanted: set[str]) -> Floats:
        grey = self.texture
        weights = self.neighbourhood.run_weights()
        shares = np.empty(0) if weights is None else weights
        lines, steps = self.neighbourhood.lines, grey.steps(self.neighbourhood)
        return self._filled(
            matrices.SIZES,
            lambda part, out: self.kernels.run_maps(
                grey.grey, grey.centres[part], steps, grey.greatest, *lines, shares, out
            ),
        )

    def _of_pairs(self, kernel: Callable[..., None], pairs: Any, width: int, *more: Any) -> Floats:
        grey, steps = self.texture, self.texture.steps(self.neighbourhood)
        return self._filled(
            width,
            lambda part, out: kernel(
                grey.grey, grey.centres[part], steps, grey.greatest, pairs.first, pairs.second, *more, out
            ),
        )

    def _filled(self, width: int, fill: Callable[[slice, Floats], None]) -> Floats:
        """Let ``fill`` fill the rows of each slab, the slabs side by side."""
        count = self.texture.centres.size
        out = np.empty((count, width))
        parts = slabs(count, self.threads)
        if len(parts) == 1:
            fill(parts[0], out)
        else:
            with ThreadPoolExecutor(len(parts)) as pool:
                list(pool.map(lambda part: fill(part, out[part]), parts))
        return out
