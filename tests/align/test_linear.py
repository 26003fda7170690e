"""What is special about the linear members: far starts, looking around a region, stretch, and the search's measure."""

import numpy as np
import pytest
from contracts.test_registration import CT_VALUES, FIXED, MOVING, PET_VALUES, body, error_mm, pair, rigid
from scipy.spatial.transform import Rotation

from radfuse.align.registration.affine import Affine
from radfuse.align.registration.gate import Gate
from radfuse.align.registration.histogram import information
from radfuse.align.registration.rigid import Rigid
from radfuse.align.registration.search import Objective, coarse, rotations, turned
from radfuse.align.registration.similarity import mutual_information
from radfuse.align.stage import Align
from radfuse.data.geometry import Geometry
from radfuse.data.subject import Subject
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask, Volume
from radfuse.errors import DataError

FAR = ("headers", "centres", "moments")


def test_information_is_the_mutual_information_less_millers_bias(rng: np.random.Generator) -> None:
    rows = rng.integers(0, 4, 5000)
    columns = (rows + rng.integers(0, 2, 5000)) % 4
    line = columns.astype(np.float32).reshape(1, 1, -1)
    points = np.c_[np.arange(5000.0), np.zeros((5000, 2))]
    value, inside = information(points, rows, 4, line, np.eye(4)[:3])
    cells = len(np.unique(rows * 4 + columns))
    plain = mutual_information(rows.astype(float), columns.astype(float), bins=4)
    assert inside == 5000
    assert value == pytest.approx(plain - (cells - 8 + 1) / 10_000, abs=1e-12)
    moved = np.eye(4)[:3].copy()
    moved[0, 3] = 2500.2
    assert information(points, rows, 4, line, moved)[1] == 2500
    moved[0, 3] = 1e6
    assert information(points, rows, 4, line, moved) == (0.0, 0)


def test_a_rotation_vectors_matrix_is_that_of_scipy_to_the_last_bit(rng: np.random.Generator) -> None:
    lengths = 10.0 ** rng.uniform(-9, 1, 500)
    for vector in [np.zeros(3), *(1e-3 * np.eye(3)), *(rng.normal(size=(500, 3)) * lengths[:, None])]:
        np.testing.assert_array_equal(turned(vector), Rotation.from_rotvec(vector).as_matrix())


def test_the_coarse_look_turns(rng: np.random.Generator) -> None:
    planted = rigid(30.0, (0.0, 0.0, 0.0))
    objective = Objective.of(*pair(planted, PET_VALUES), 4000, 1, 16).wanting(0.5)
    with_turns = coarse(objective, [np.zeros(3)], rotations((30.0,)), 16.0)
    without = coarse(objective, [np.zeros(3)], rotations(()), 16.0)
    assert objective(with_turns[0]) > objective(without[0])
    points = FIXED.corners_mm
    assert np.linalg.norm(with_turns[0].apply(points) - planted.apply(points), axis=1).max() < 15.0


def far_pair() -> tuple[Volume, Volume, Transform]:
    """Give scans of two sessions: turned by 35 degrees, and 780 mm of table between the frames."""
    planted = rigid(35.0, (5.0, -4.0, 780.0))
    grid = Geometry(MOVING.size, MOVING.spacing_mm, (-5.0, -6.0, 772.0))
    fixed = body(FIXED, Transform.identity(), CT_VALUES, "CT")
    return fixed, body(grid, planted.inverse, PET_VALUES, "MR"), planted


def test_scans_of_two_sessions_find_each_other_from_their_middles() -> None:
    fixed, moving, planted = far_pair()
    found = Rigid(starts=FAR, turns_deg=(30.0,), points=8000).build()(fixed, moving)
    assert found.findings["accepted"], found.findings
    assert found.findings["reason"] == "under the headers the scans hardly meet"
    assert error_mm(found, planted) <= 0.5 * max(MOVING.spacing_mm)


def test_align_refuses_them_unless_it_may_leave_the_headers() -> None:
    fixed, moving, _ = far_pair()
    inside = np.zeros(FIXED.shape, np.uint8)
    inside[10:20, 10:20, 10:20] = 1
    subject = Subject("s1", {"CT": fixed, "MR": moving}, {"CT": Mask(inside, FIXED)})
    quick = {"points": 3000, "turns_deg": [35.0], "search_mm": 8.0}
    with pytest.raises(DataError, match="share no part of space") as refused:
        Align.model_validate({"registration": {"method": "rigid", **quick}})(subject)
    assert "starts: [headers, centres, moments]" in refused.value.hint
    strict = {"method": "rigid", "starts": FAR, "gate": {"min_overlap": 1.0}, **quick}
    with pytest.raises(DataError, match="share no part of space"):
        Align.model_validate({"registration": strict})(subject)
    aligned = Align.model_validate({"registration": {"method": "rigid", "starts": FAR, **quick}})(subject)
    assert aligned.findings["align"]["registration"]["MR"]["accepted"]


def test_looking_around_the_region_is_not_misled_by_what_moved_elsewhere() -> None:
    """Two bodies that moved apart: the smaller one is the region's."""
    grid = Geometry((60, 30, 30), (3.0, 3.0, 3.0))
    index = np.stack(np.meshgrid(*(3.0 * np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)[..., ::-1]

    def scan(small_x: float, name: str) -> Volume:
        image = np.zeros(grid.shape)
        for centre, radius, value in (((120, 45, 45), 30, 1.0), ((130, 35, 50), 12, 2.0), ((110, 60, 40), 10, 3.0)):
            image[np.linalg.norm(index - centre, axis=-1) < radius] = value
        for centre, radius, value in (((38, 45, 45), 18, 1.5), ((32, 40, 50), 7, 3.0), ((46, 50, 40), 6, 0.5)):
            image[np.linalg.norm(index - np.add(centre, (small_x, 0, 0)), axis=-1) < radius] = value
        noise = np.random.default_rng(len(name)).normal(0, 0.05, grid.shape)
        return Volume((image + noise).astype(np.float32), grid, name, "a.u.")

    region = Mask((np.linalg.norm(index - (38, 45, 45), axis=-1) < 18).astype(np.uint8), grid)
    gate = Gate(min_gain=0.0, max_inverse_mm=50.0)
    settings = {"gate": gate, "points": 4000, "turns_deg": (), "search_mm": 24.0}
    at = [[38.0, 45.0, 45.0]]
    everywhere = Rigid(**settings).build()(scan(0, "CT"), scan(9, "PET"), region).transform.apply(at)
    near = Rigid(**settings, region_margin_mm=6.0).build()(scan(0, "CT"), scan(9, "PET"), region).transform.apply(at)
    assert np.linalg.norm(near - np.add(at, (9, 0, 0))) < 1.5
    assert np.linalg.norm(everywhere - np.add(at, (9, 0, 0))) > 5.0


def test_affine_finds_a_stretch_and_the_gate_bounds_it() -> None:
    stretch = Transform.about(FIXED.corners_mm.mean(axis=0), np.diag([1.12, 0.97, 1.0]), (4.0, 3.0, -2.0))
    fixed = body(FIXED, Transform.identity(), CT_VALUES, "CT")
    moving = body(MOVING, stretch.inverse, CT_VALUES, "PET")
    found = Affine(turns_deg=(), search_mm=16.0, gate=Gate(max_inverse_mm=8.0)).build()(fixed, moving)
    assert found.findings["accepted"], found.findings
    assert found.transform.volume_change == pytest.approx(stretch.volume_change, abs=0.05)
    assert error_mm(found, stretch) <= 0.5 * max(MOVING.spacing_mm)
    refused = Affine(turns_deg=(), points=4000, gate=Gate(max_volume_change=1.02)).build()(fixed, moving)
    assert "volumes change by a factor 1.0" in refused.findings["reason"]
