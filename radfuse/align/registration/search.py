"""Search for a linear map: a coarse look from many starts, then climbs from the best of them.

Climbing is Powell's, without gradients, on points off the voxel centres. ``benchmarks/registration.py`` planted
40 motions of up to 30 mm and 15 degrees in CT against PET and MR of ten sarcoma patients that nothing was tuned on (it
was on eight others). Median distance from the cohort's own alignment at the lesion, and share within 10 mm: MR ours
3.2 mm (85 %), greedy 4.8 (65), ANTs 4.9 (70), itk-elastix 5.4 (75), SimpleITK 9.0 (55); PET ours 4.4 mm (90 %), greedy
7.2 (70), ANTs 8.6 (65), itk-elastix 8.7 (55), SimpleITK 10.2 (45). One pair of the twenty, CT and PET of STS_035, ends
72 mm away from either motion, and the gate refuses it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from radfuse.align.registration.context import UNLIKE, Likeness
from radfuse.align.registration.gate import MIN_SHARED
from radfuse.align.registration.histogram import information
from radfuse.align.registration.similarity import BINS, sample, sample_points_mm
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask, Volume

Array = npt.NDArray[np.float64]
Start = Literal["headers", "centres", "moments"]

COARSE_POINTS, COARSE_BINS = 4000, 16
STEP_MM = 8.0
COARSE_STEP_MM = 16.0
BRANCHES = 2  # places that a turn's lattice hands on
KEPT = 5  # places that are climbed from
SIDE_MM = 18.0  # where the side hills of limbs were met
CLIMBED, JUDGED = 0.2, 0.06  # of a nat beside a squared difference of contexts: on a hill, and between hills
LEVER_MM = 60.0  # a turn of one radian counts as this distance: half the size of a typical field of view


@dataclass(frozen=True, eq=False)
class Objective:
    """Mutual information of two prepared volumes as a function of the map.

    Parameters
    ----------
    points_mm : where the fixed volume is looked at, relative to its centre.
    rows : its bin at each point.
    moving : scaled to bins.
    to_index : from millimetres to the moving volume's indices, 4 x 4.
    least : fewer points inside the moving volume count as nothing.
    """

    points_mm: Array
    rows: npt.NDArray[np.int64]
    bins: int
    moving: npt.NDArray[np.float32]
    to_index: Array
    centre_mm: Array
    least: float = 0.0

    @classmethod
    def of(
        cls, fixed: Volume, moving: Volume, count: int, seed: int, bins: int = BINS, look: Mask | None = None
    ) -> Objective:
        """Look at a number of points, everywhere or where a mask is."""
        points = sample_points_mm(fixed.geometry, count, seed, look)
        values = sample(fixed, points).values
        centre = np.asarray(fixed.geometry.corners_mm.mean(axis=0), dtype=np.float64)
        to_index = np.linalg.inv(moving.geometry.index_to_physical)
        rows = np.rint(_scaled(values, bins)).astype(np.int64)
        scaled = np.ascontiguousarray(_scaled(moving.array, bins), dtype=np.float32)
        return cls(points - centre, rows, bins, scaled, np.asarray(to_index, dtype=np.float64), centre)

    def wanting(self, share: float) -> Objective:
        """Ask for a share of the points that the headers, or else the sizes, could put inside."""
        inside = self.at(Transform.identity())[1]
        possible = inside if inside >= MIN_SHARED * len(self.rows) else min(len(self.rows), self._possible())
        return replace(self, least=share * possible)

    def at(self, motion: Transform) -> tuple[float, int]:
        """Give the mutual information and the number of points inside."""
        matrix = self.to_index @ motion.array
        matrix[:3, 3] += matrix[:3, :3] @ self.centre_mm
        return information(self.points_mm, self.rows, self.bins, self.moving, matrix[:3])

    def __call__(self, motion: Transform) -> float:
        """Give the mutual information, or minus one where too few points meet."""
        value, inside = self.at(motion)
        return value if inside >= max(1.0, self.least) else UNLIKE

    def _possible(self) -> float:
        extent = np.ptp(self.points_mm, axis=0).prod()
        voxel = 1.0 / abs(np.linalg.det(self.to_index[:3, :3]))
        return float(len(self.rows) * self.moving.size * voxel / max(extent, 1.0))


def coarse(
    objective: Objective, anchors_mm: Sequence[Array], turns: Sequence[Array], reach_mm: float
) -> list[Transform]:
    """Try every turn at every anchor on a lattice of shifts; give the best places that lie apart, the best first.

    Parameters
    ----------
    anchors_mm : shifts to start from; the lattice reaches as far as ``reach_mm`` around each.
    turns : rotations about the fixed volume's centre.
    """
    wide, fine = _ball(reach_mm, COARSE_STEP_MM), _ball(1.5 * STEP_MM, STEP_MM)
    found: list[tuple[float, Transform]] = []
    for anchor in anchors_mm:
        for turn in turns:
            for place in _best(objective, turn, anchor + wide)[:BRANCHES]:
                shift = place[1].apply([objective.centre_mm])[0] - objective.centre_mm
                found += _best(objective, turn, shift + fine)[:1]
    best = [motion for value, motion in sorted(found, key=lambda each: -each[0]) if value > UNLIKE]
    return apart(best, objective.centre_mm)[:KEPT]


def apart(motions: Iterable[Transform], centre_mm: Array) -> list[Transform]:
    """Keep, of maps in order of preference, those that are no near copy of a preferred one."""
    kept: list[Transform] = []
    for motion in motions:
        if all(_apart_mm(motion, other, centre_mm) > STEP_MM for other in kept):
            kept.append(motion)
    return kept


def beside(motion: Transform, centre_mm: Array) -> list[Transform]:
    """Give the six maps that lie a side hill away along an axis."""
    shift, turn = motion.apply([centre_mm])[0] - centre_mm, motion.array[:3, :3]
    return [Transform.about(centre_mm, turn, shift + way * axis) for axis in np.eye(3) for way in (-SIDE_MM, SIDE_MM)]


class Hill(Protocol):
    """What can be climbed: a value for every map, and the point about which maps turn."""

    @property
    def centre_mm(self) -> Array:
        """Give the point."""

    def __call__(self, motion: Transform) -> float:
        """Give the value; the higher, the better."""


@dataclass(frozen=True, eq=False)
class Together:
    """Mutual information and the likeness of contexts as one: the second says what the first leaves open."""

    information: Objective
    likeness: Likeness
    weight: float = CLIMBED

    @property
    def centre_mm(self) -> Array:
        """Give the point about which maps turn."""
        return self.information.centre_mm

    def __call__(self, motion: Transform) -> float:
        """Give the weighted sum, or minus one where too few points meet."""
        one, other = self.information(motion), self.likeness(motion)
        return UNLIKE if UNLIKE in (one, other) else self.weight * one + other


def climb(objective: Hill, start: Transform, freedom: Literal["rigid", "affine"], tolerance_mm: float) -> Transform:
    """Climb to the nearest top by Powell's method [Powell 1964, doi:10.1093/comjnl/7.2.155]."""
    from scipy.optimize import minimize

    shift = start.apply([objective.centre_mm])[0] - objective.centre_mm
    turn = start.array[:3, :3]

    def motion(at: Array) -> Transform:
        return Transform.about(objective.centre_mm, _matrix(at[3:] / LEVER_MM) @ turn, shift + at[:3])

    size = 6 if freedom == "rigid" else 12
    found = minimize(
        lambda at: -objective(motion(at)),
        np.zeros(size),
        method="Powell",
        options={"xtol": tolerance_mm, "ftol": 1e-4 * tolerance_mm, "maxiter": 8},
    )
    end = motion(np.asarray(found.x))
    return end if objective(end) > objective(start) else start


def anchors(fixed: Volume, moving: Volume, starts: Iterable[Start]) -> list[Array]:
    """Give the shift of each start: none, centre onto centre, or centre of mass onto centre of mass."""
    ways: dict[Start, Callable[[Volume], Array]] = {
        "headers": lambda volume: np.zeros(3),
        "centres": lambda volume: np.asarray(volume.geometry.corners_mm.mean(axis=0)),
        "moments": _centre_of_mass,
    }
    return [ways[start](moving) - ways[start](fixed) for start in starts]


def rotations(angles_deg: Iterable[float]) -> list[Array]:
    """Give no turn, and each angle both ways about each axis."""
    from scipy.spatial.transform import Rotation

    axes = np.eye(3)
    turns = [np.radians(way * angle) * axis for angle in angles_deg for axis in axes for way in (-1.0, 1.0)]
    return [np.eye(3), *(np.asarray(Rotation.from_rotvec(turn).as_matrix()) for turn in turns)]


def _best(objective: Objective, turn: Array, shifts: Array) -> list[tuple[float, Transform]]:
    motions = [Transform.about(objective.centre_mm, turn, shift) for shift in shifts]
    return sorted(((objective(motion), motion) for motion in motions), key=lambda each: -each[0])


def _apart_mm(one: Transform, other: Transform, centre_mm: Array) -> float:
    """Give how far two maps differ over points at the lever's length from the centre."""
    return (Transform.from_array(other.inverse.array @ one.array)).displacement_mm(centre_mm + LEVER_MM * np.eye(3))


def _ball(reach_mm: float, step_mm: float) -> Array:
    steps = np.arange(-np.floor(reach_mm / step_mm), np.floor(reach_mm / step_mm) + 1) * step_mm
    shifts = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    shifts = shifts[np.linalg.norm(shifts, axis=1) <= reach_mm]
    return np.asarray(shifts[np.argsort(np.linalg.norm(shifts, axis=1), kind="stable")])  # of equals, the nearest


def _matrix(at: Array) -> Array:
    """Give a rotation vector's matrix, times a stretch and shear where there are six more numbers."""
    turn = turned(at[:3])
    if len(at) == 3:
        return turn
    a, b, c, d, e, f = at[3:]
    return np.asarray(turn @ (np.eye(3) + np.array([[a, d, e], [d, b, f], [e, f, c]])))


def turned(vector: Array) -> Array:
    """Give a rotation vector's matrix: SciPy's numbers to the last bit, without the time that its checks take."""
    a, b, c = vector.tolist()
    angle = math.sqrt(a * a + b * b + c * c)
    square = angle * angle
    scale = 0.5 - square / 48 + square * square / 3840 if angle <= 1e-3 else math.sin(angle / 2) / angle
    x, y, z, w = scale * a, scale * b, scale * c, math.cos(angle / 2)
    return np.array(
        [
            [x * x - y * y - z * z + w * w, 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), -(x * x) + y * y - z * z + w * w, 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), -(x * x) - y * y + z * z + w * w],
        ]
    )


def _centre_of_mass(volume: Volume) -> Array:
    weight = volume.array.astype(np.float64) - float(volume.array.min())
    total = weight.sum()
    if total <= 0.0:
        return np.asarray(volume.geometry.corners_mm.mean(axis=0))
    index = [
        float(
            (weight.sum(axis=tuple(a for a in range(3) if a != 2 - axis)) @ np.arange(volume.geometry.size[axis]))
            / total
        )
        for axis in range(3)
    ]
    return np.asarray((volume.geometry.index_to_physical @ [*index, 1.0])[:3])


def _scaled(values: npt.NDArray[np.generic], bins: int) -> Array:
    numbers = values.astype(np.float64)
    low, high = float(numbers.min()), float(numbers.max())
    return (numbers - low) * ((bins - 1) / (high - low)) if high > low else np.zeros_like(numbers)
