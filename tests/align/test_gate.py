import numpy as np
import pytest

from radfuse.align.registration.gate import Gate
from radfuse.align.registration.similarity import Judge, mutual_information
from radfuse.data.geometry import Geometry
from radfuse.data.transform import Transform
from radfuse.data.volume import Volume

GRID = Geometry((30, 30, 30), (2.0, 2.0, 2.0))


def ball(centre: float, name: str) -> Volume:
    z, y, x = np.meshgrid(*(2.0 * np.arange(30),) * 3, indexing="ij")
    radius = np.sqrt((x - centre) ** 2 + (y - 28) ** 2 + (z - 28) ** 2)
    return Volume(np.clip(16 - radius, 0, 8).astype(np.float32), GRID, name, "a.u.")


def shift(x: float) -> Transform:
    matrix = np.eye(4)
    matrix[0, 3] = x
    return Transform.from_array(matrix)


@pytest.fixture
def judge() -> Judge:
    return Judge.over(ball(28.0, "CT"), ball(36.0, "PET"), 20_000)


def test_the_true_motion_passes(judge: Judge) -> None:
    found = Gate().judge(judge, shift(8.0), lambda: shift(-8.0))
    assert found.findings["accepted"]
    assert found.transform == shift(8.0)
    assert found.findings["displacement_mm"] == pytest.approx(8.0)
    assert found.findings["inverse_consistency_mm"] == pytest.approx(0.0)


def test_where_headers_are_ignored_nothing_is_held_against_them(judge: Judge) -> None:
    still = Judge.over(judge.fixed, judge.fixed, 20_000)
    found = Gate(headers="ignored").judge(still, shift(0.0), lambda: shift(0.0))
    assert found.findings["accepted"]
    assert found.findings["overlap"] == pytest.approx(1.0)
    assert not Gate().judge(still, shift(0.0), lambda: shift(0.0)).findings["accepted"]
    far = Gate(headers="ignored", min_overlap=0.95).judge(judge, shift(8.0), lambda: shift(-8.0))
    # 51 of 58 mm: the field ends half a voxel beyond the last centre.
    assert far.findings["reason"] == "headers kept: 88 % of the points stay inside, fewer than 95 %"


@pytest.mark.parametrize(
    ("gate", "found", "back", "reason"),
    [
        (Gate(), 0.5, -0.5, "less than the 25 % asked for"),
        (Gate(max_displacement_mm=5.0), 8.0, -8.0, "a corner moves 8 mm, more than 5 mm"),
        (Gate(min_overlap=0.95), 8.0, -8.0, "of the points stay inside, fewer than 95 %"),
        (Gate(), 8.0, -2.0, "registering back ends 6.0 mm off, more than 4 mm"),
    ],
)
def test_every_objection_keeps_the_header(judge: Judge, gate: Gate, found: float, back: float, reason: str) -> None:
    answer = gate.judge(judge, shift(found), lambda: shift(back))
    assert answer.transform.is_identity
    assert not answer.findings["accepted"]
    assert reason in answer.findings["reason"]


def test_the_way_back_is_not_searched_in_vain(judge: Judge) -> None:
    def back() -> Transform:
        raise AssertionError("asked for nothing")

    assert not Gate().judge(judge, Transform.identity(), back).findings["accepted"]


def test_mutual_information_by_hand(rng: np.random.Generator) -> None:
    side = np.tile([0.0, 0.0, 1.0, 1.0], 100)
    other = np.tile([0.0, 1.0, 0.0, 1.0], 100)
    assert mutual_information(side, side) == pytest.approx(np.log(2))
    assert mutual_information(side, 5 - 3 * side) == pytest.approx(np.log(2))
    assert mutual_information(side, other) == pytest.approx(0.0, abs=1e-12)
    assert mutual_information(side, np.zeros(400)) == 0.0
