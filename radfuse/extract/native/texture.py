"""The texture classes of one image: grey levels once, matrices once, features by PyRadiomics' names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from radfuse.extract.kernels.matrices import EPSILON, pair_features, size_features
from radfuse.extract.kernels.neighbours import neighbour_counts
from radfuse.extract.kernels.runs import shortcuts
from radfuse.extract.native import HandOver
from radfuse.extract.native.counting import Compiled, Counting

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

# In the order that the kernels give them.
GLCM = (
    "Autocorrelation", "JointAverage", "ClusterProminence", "ClusterShade", "ClusterTendency", "Contrast",
    "Correlation", "DifferenceAverage", "DifferenceEntropy", "DifferenceVariance", "JointEnergy", "JointEntropy",
    "Imc1", "Imc2", "Idm", "Idmn", "Id", "Idn", "InverseVariance", "MaximumProbability", "SumAverage", "SumEntropy",
    "SumSquares",
)  # fmt: skip
GLDM = (
    "SmallDependenceEmphasis", "LargeDependenceEmphasis", "GrayLevelNonUniformity", "", "DependenceNonUniformity",
    "DependenceNonUniformityNormalized", "", "GrayLevelVariance", "DependenceVariance", "DependenceEntropy",
    "LowGrayLevelEmphasis", "HighGrayLevelEmphasis", "SmallDependenceLowGrayLevelEmphasis",
    "SmallDependenceHighGrayLevelEmphasis", "LargeDependenceLowGrayLevelEmphasis",
    "LargeDependenceHighGrayLevelEmphasis",
)  # fmt: skip
GLRLM = (
    "ShortRunEmphasis", "LongRunEmphasis", "GrayLevelNonUniformity", "GrayLevelNonUniformityNormalized",
    "RunLengthNonUniformity", "RunLengthNonUniformityNormalized", "RunPercentage", "GrayLevelVariance", "RunVariance",
    "RunEntropy", "LowGrayLevelRunEmphasis", "HighGrayLevelRunEmphasis", "ShortRunLowGrayLevelEmphasis",
    "ShortRunHighGrayLevelEmphasis", "LongRunLowGrayLevelEmphasis", "LongRunHighGrayLevelEmphasis",
)  # fmt: skip
GLSZM = (
    "SmallAreaEmphasis", "LargeAreaEmphasis", "GrayLevelNonUniformity", "GrayLevelNonUniformityNormalized",
    "SizeZoneNonUniformity", "SizeZoneNonUniformityNormalized", "ZonePercentage", "GrayLevelVariance", "ZoneVariance",
    "ZoneEntropy", "LowGrayLevelZoneEmphasis", "HighGrayLevelZoneEmphasis", "SmallAreaLowGrayLevelEmphasis",
    "SmallAreaHighGrayLevelEmphasis", "LargeAreaLowGrayLevelEmphasis", "LargeAreaHighGrayLevelEmphasis",
)  # fmt: skip

# Below these, PyRadiomics' answer hangs on the rounding of its own sums (a root of +-1e-17, a quotient of two).
SPREAD, INFORMATION, EIGENVALUE = 1e-12, 1e-11, 1e-11


@dataclass
class Places:
    """Where the voxels of a region are in its padded box; made once for all images of one mask.

    Parameters
    ----------
    inside : the region in its bounding box, (z, y, x).
    settings : PyRadiomics settings; `distances`, `force2D` and `force2Ddimension` count.
    """

    inside: npt.NDArray[np.bool_]
    settings: Mapping[str, Any]

    @property
    def distances(self) -> Array:
        """Distances at which pairs are counted."""
        return np.array(self.settings.get("distances", [1]))

    def angles(self, distances: Array) -> npt.NDArray[np.int64]:
        """Give PyRadiomics' own directions, (n, 3), along z, y, x; one of each opposite pair."""
        from radiomics import cMatrices

        flat = self.settings.get("force2D", False)
        found = cMatrices.generate_angles(
            np.array(self.inside.shape), distances, False, flat, self.settings.get("force2Ddimension", 0)
        )
        if len(found) == 0:
            raise HandOver("the region is too thin for any direction")
        return np.asarray(found, dtype=np.int64)

    def require_directions(self, feature_class: str) -> None:
        """Hand over when there is no direction for this class at all."""
        _ = self.step_angles if feature_class in ("glrlm", "glszm") else self.pair_angles

    @cached_property
    def pair_angles(self) -> npt.NDArray[np.int64]:
        """Directions of GLCM, GLDM and NGTDM."""
        return self.angles(self.distances)

    @cached_property
    def step_angles(self) -> npt.NDArray[np.int64]:
        """Directions of runs and zones: to the next voxel."""
        return self.angles(np.array([1]))

    @cached_property
    def padding(self) -> tuple[int, int, int]:
        """Empty voxels around the box along z, y, x: no step from a line of the region leads out of the padded box."""
        reach = max(1, int(self.distances.max()))
        return reach, reach + 1, reach

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the padded box."""
        z, y, x = (size + 2 * more for size, more in zip(self.inside.shape, self.padding, strict=True))
        return z, y, x

    @cached_property
    def shortcuts(self) -> tuple[Array, Array]:
        """Which neighbours need be joined to make a zone, see `radfuse.extract.kernels.runs.shortcuts`."""
        return shortcuts(self.step_angles)

    @cached_property
    def strides(self) -> npt.NDArray[np.int64]:
        """Steps along z, y, x in the flat padded box."""
        _, ny, nx = self.shape
        return np.array([ny * nx, nx, 1], dtype=np.int64)

    @cached_property
    def flat(self) -> npt.NDArray[np.int32]:
        """Places of the voxels in the flat padded box, rising."""
        if self.size > np.iinfo(np.int32).max:
            raise HandOver("the box of the region is too large")
        return np.flatnonzero(np.pad(self.inside, [(more, more) for more in self.padding])).astype(np.int32)

    @property
    def size(self) -> int:
        """Voxels of the padded box."""
        return int(np.prod(self.shape))

    @property
    def width(self) -> int:
        """Voxels of a line of the padded box."""
        return int(self.strides[1])

    @cached_property
    def pair_steps(self) -> npt.NDArray[np.int64]:
        """`pair_angles` as steps in the flat padded box."""
        return self.pair_angles @ self.strides

    @cached_property
    def next_steps(self) -> npt.NDArray[np.int64]:
        """`step_angles` as steps in the flat padded box."""
        return self.step_angles @ self.strides

    @cached_property
    def neighbour_counts(self) -> npt.NDArray[np.uint16]:
        """How many of each voxel's neighbours, at `distances`, are in the region."""
        inside = np.zeros(self.size, np.uint8)
        inside[self.flat] = 1
        return neighbour_counts(inside, self.width, self.pair_steps)

    @cached_property
    def several_on_a_line(self) -> npt.NDArray[np.bool_]:
        """In which directions some line has more than one voxel of the region: run lengths have only those."""
        return np.array([self._several(angle) for angle in self.step_angles])

    def _several(self, angle: npt.NDArray[np.int64]) -> bool:
        ahead = tuple(slice(max(0, a), size + min(0, a)) for a, size in zip(angle, self.inside.shape, strict=True))
        behind = tuple(slice(max(0, -a), size + min(0, -a)) for a, size in zip(angle, self.inside.shape, strict=True))
        if (self.inside[ahead] & self.inside[behind]).any():
            return True
        coordinates = np.argwhere(self.inside)
        axis = int(np.flatnonzero(angle)[0])
        steps = coordinates[:, axis] * angle[axis]
        return len(np.unique(coordinates - steps[:, None] * angle, axis=0)) < len(coordinates)


class Texture:
    """The texture matrices of one image in one region.

    Parameters
    ----------
    places : the region.
    levels : grey level of each of its voxels, from 1, in the order of ``places.flat``.
    settings : PyRadiomics settings of this image type.
    spacing_mm : voxel size along z, y, x, for weighted directions.
    counting : who counts; no number depends on it.
    """

    def __init__(
        self, places: Places, levels: npt.NDArray[np.int16], settings: Mapping[str, Any], spacing_mm: Array,
        counting: Counting = Compiled,
    ) -> None:  # fmt: skip
        self.places, self.settings, self.spacing_mm = places, settings, spacing_mm
        counts = np.bincount(levels)
        self.present = np.flatnonzero(counts)
        self.greys = self.present.astype(np.float64)
        self.greatest = int(self.present[-1])
        self.histogram = counts[self.present]
        numbers = np.zeros(self.greatest + 1, np.int16)
        numbers[self.present] = np.arange(1, self.present.size + 1, dtype=np.int16)
        self.levels = np.zeros(places.size, np.int16)
        self.levels[places.flat] = levels
        self.rows = self.levels
        if self.present.size < self.greatest:
            self.rows = np.zeros(places.size, np.int16)
            self.rows[places.flat] = numbers[levels]
        self.counts = counting(places, self.levels, self.rows, self.present.size)

    @cached_property
    def surroundings(self) -> tuple[Array, Array]:
        """Dependences and differences, see `radfuse.extract.kernels.neighbours`."""
        return self.counts.surroundings(int(self.settings.get("gldm_a", 0)))

    def glcm(self) -> dict[str, float]:
        """Features of the co-occurrence matrix, the mean over directions."""
        shares = self.counts.pairs().astype(np.float64)
        if self.settings.get("symmetricalGLCM", True):
            shares = shares + shares.transpose(0, 2, 1)
        shares = self._weighted(shares, self.places.pair_angles, lambda mm: np.exp(-(mm**2)))
        totals = shares.sum((1, 2))
        shares, totals = shares[totals > 0], totals[totals > 0]
        if not len(totals):
            raise HandOver("no two voxels of the region are neighbours")
        shares /= totals[:, None, None]
        features, edges = pair_features(shares, self.greys, self.greatest)
        if edges[:, 0].min() < SPREAD or edges[:, 1].min() < INFORMATION:
            raise HandOver("a direction has hardly any texture, where PyRadiomics' rounding decides")
        return dict(zip(GLCM, features.mean(0).tolist(), strict=True)) | {"MCC": _correlation_coefficient(shares)}

    def gldm(self) -> dict[str, float]:
        """Features of the dependence matrix."""
        return _named(GLDM, self.surroundings[0][None], self.greys)

    def ngtdm(self) -> dict[str, float]:
        """Features of the difference to the neighbourhood [Amadasun & King 1989, doi:10.1109/21.44046]."""
        voxels, differences = self.surroundings[1].T
        return _tone_features(self.greys, voxels, differences)

    def glrlm(self) -> dict[str, float]:
        """Features of the run lengths, the mean over directions."""
        places = self.places
        counts = self.counts.runs() * places.several_on_a_line[:, None, None]
        used = int(np.flatnonzero(counts.any((0, 1))).max(initial=-1)) + 1
        if not used:
            raise HandOver("no line meets the region in more than one voxel")
        weighted = self._weighted(counts[:, :, :used].astype(np.float64), places.step_angles, lambda mm: mm)
        return _named(GLRLM, weighted[weighted.any((1, 2))], self.greys)

    def glszm(self) -> dict[str, float]:
        """Features of the zones of equal level."""
        rows, sizes = self.counts.zones()
        distinct = np.flatnonzero(np.bincount(sizes))
        columns = np.zeros(distinct[-1] + 1, np.int64)
        columns[distinct] = np.arange(distinct.size)
        cells = (rows.astype(np.int64) - 1) * distinct.size + columns[sizes]
        counts = np.bincount(cells, minlength=self.present.size * distinct.size)
        table = counts.reshape(1, self.present.size, distinct.size)
        return _named(GLSZM, table, self.greys, distinct.astype(np.float64))

    def _weighted(self, matrices: Floats, angles: Array, weight: Callable[[Floats], Floats]) -> Floats:
        norm = self.settings.get("weightingNorm")
        if norm is None:
            return matrices
        steps_mm = np.abs(angles) * self.spacing_mm
        if norm == "no_weighting":
            weights = np.ones(len(angles))
        elif norm in NORMS:
            weights = weight(NORMS[norm](steps_mm))
        else:
            raise HandOver(f"weightingNorm {norm!r} is not known here")
        return np.asarray((matrices * weights[:, None, None]).sum(0, keepdims=True))


NORMS: dict[str, Callable[[Floats], Floats]] = {
    "infinity": lambda mm: np.asarray(mm.max(1)),
    "euclidean": lambda mm: np.asarray(np.sqrt((mm**2).sum(1))),
    "manhattan": lambda mm: np.asarray(mm.sum(1)),
}


def _named(names: tuple[str, ...], counts: Array, greys: Floats, sizes: Floats | None = None) -> dict[str, float]:
    if sizes is None:
        sizes = np.arange(1.0, counts.shape[2] + 1)
    features = size_features(np.ascontiguousarray(counts, dtype=np.float64), greys, sizes).mean(0)
    return {name: value for name, value in zip(names, features.tolist(), strict=True) if name}


def _correlation_coefficient(shares: Floats) -> float:
    """Give the maximal correlation coefficient, with the epsilon that PyRadiomics has in the divisor."""
    px, py = shares.sum(2), shares.sum(1)
    scaled = shares / (px[:, :, None] * py[:, None, :] + EPSILON)
    eigenvalues = np.linalg.eigvals(scaled @ shares.transpose(0, 2, 1))
    eigenvalues.sort()
    second = eigenvalues[:, -2]
    if (np.abs(second) < EIGENVALUE)[shares.max((1, 2)) < 1].any():
        raise HandOver("a direction has hardly any correlation, where PyRadiomics' rounding decides")
    with np.errstate(invalid="ignore"):
        return float(np.nanmean(np.sqrt(second)).real)


def _tone_features(greys: Floats, voxels: Floats, differences: Floats) -> dict[str, float]:
    total = voxels.sum()
    p = voxels / total
    levels, weighted = greys.size, greys * p
    emphasis = (p * differences).sum()
    apart = greys[:, None] - greys[None, :]
    contrast = (p[:, None] * p[None, :] * apart**2).sum() * differences.sum() / total
    spread = np.abs(weighted[:, None] - weighted[None, :]).sum()
    both = p[:, None] + p[None, :]
    busy = p * differences
    strength = (both * apart**2).sum()
    return {
        "Coarseness": float(1.0 / emphasis) if emphasis != 0 else 1e6,
        "Contrast": float(contrast / (levels * (levels - 1))) if levels > 1 else 0.0,
        "Busyness": float(emphasis / spread) if spread != 0 else 0.0,
        "Complexity": float((np.abs(apart) * (busy[:, None] + busy[None, :]) / both).sum() / total),
        "Strength": float(strength / differences.sum()) if differences.sum() != 0 else 0.0,
    }


# The features of each class, for a region of one grey level, which has no texture.
NAMES = {
    "glcm": (*GLCM, "MCC"),
    "gldm": tuple(name for name in GLDM if name),
    "glrlm": GLRLM,
    "glszm": GLSZM,
    "ngtdm": ("Coarseness", "Contrast", "Busyness", "Complexity", "Strength"),
}
