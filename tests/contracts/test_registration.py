"""What every registration keeps. A new member needs no new test here."""

import json
import sys

import numpy as np
import pytest

from radfuse.align.registration import Registered, Registration
from radfuse.data.geometry import Geometry
from radfuse.data.transform import Transform
from radfuse.data.volume import Volume

MEMBERS = sorted(Registration.members())

FIXED = Geometry((40, 36, 30), (2.0, 2.0, 2.5))
MOVING = Geometry((34, 32, 32), (2.5, 2.5, 3.0), (-5.0, -6.0, -8.0))


def body(grid: Geometry, to_scene: Transform, values: tuple[float, ...], name: str) -> Volume:
    """Draw an ellipsoid with three organs, smooth at the edges; ``to_scene`` says where a point of the grid lies."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)[..., ::-1]
    matrix = grid.index_to_physical
    points = to_scene.apply(index.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3])
    organs = [
        ((40, 36, 36), (32, 26, 30)),
        ((28, 30, 30), (8, 7, 12)),
        ((54, 40, 42), (7, 10, 8)),
        ((40, 48, 28), (9, 5, 7)),
    ]
    image = np.full(len(points), values[0])
    for (centre, axes), value in zip(organs, values[1:], strict=True):
        radius = np.linalg.norm((points - np.asarray(centre)) / np.asarray(axes), axis=1)
        image += np.clip((1 - radius) * min(axes) / 2 + 0.5, 0, 1) * (value - image)
    noise = np.random.default_rng(len(name)).normal(0, 0.01 * np.ptp(values), len(points))
    return Volume((image + noise).reshape(grid.shape).astype(np.float32), grid, name, "a.u.")


def rigid(angle_deg: float, shift_mm: tuple[float, float, float]) -> Transform:
    """Turn about z through the middle of the fixed grid, then shift."""
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    matrix, centre = np.eye(4), FIXED.corners_mm.mean(axis=0)
    matrix[:3, :3] = [[c, -s, 0], [s, c, 0], [0, 0, 1]]
    matrix[:3, 3] = centre + shift_mm - matrix[:3, :3] @ centre
    return Transform.from_array(matrix)


CT_VALUES, PET_VALUES = (-1000.0, 40.0, 300.0, -200.0, 110.0), (0.0, 0.8, 0.4, 2.5, 6.0)


def pair(planted: Transform, values: tuple[float, ...]) -> tuple[Volume, Volume]:
    """Give a fixed image, and a moving one in which a fixed point lies where ``planted`` takes it."""
    back = Transform.from_array(np.linalg.inv(planted.array))
    return body(FIXED, Transform.identity(), CT_VALUES, "CT"), body(MOVING, back, values, "PET")


def error_mm(found: Registered, planted: Transform) -> float:
    """Largest distance from the truth over the middle half of the fixed grid."""
    middle = FIXED.corners_mm.mean(axis=0)
    points = middle + 0.5 * (FIXED.corners_mm - middle)
    return float(np.linalg.norm(found.transform.apply(points) - planted.apply(points), axis=1).max())


@pytest.fixture(params=MEMBERS)
def registration(request: pytest.FixtureRequest) -> Registration:
    """Every member, with little work to do; those that bend start from the headers, for `rigid` has its own turn."""
    quick: dict[str, dict[str, object]] = {
        "rigid": {"points": 4000, "turns_deg": []},
        "affine": {"points": 4000, "turns_deg": []},
        "bspline": {"linear": "none", "iterations": 3},
        "demons": {"linear": "none"},
    }
    return Registration.choose({"method": request.param, **quick.get(request.param, {})})


def test_every_member_is_named_by_its_file() -> None:
    assert MEMBERS == ["affine", "bspline", "demons", "none", "rigid"]


def test_the_header_alignment_stays_where_it_is_right(registration: Registration) -> None:
    found = registration.build()(*pair(Transform.identity(), PET_VALUES))
    assert found.transform.is_identity
    assert found.findings["accepted"] is False
    assert found.findings["reason"]


def test_repeats_exactly_on_any_number_of_threads_and_says_what_it_found_in_plain_json(
    registration: Registration,
) -> None:
    import SimpleITK as sitk

    fixed, moving = pair(rigid(0, (6.0, -3.0, 2.0)), PET_VALUES)
    first = registration.build()(fixed, moving)
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(3)
    try:
        second = registration.build()(fixed, moving)
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert first == second
    assert json.loads(json.dumps(first.findings, allow_nan=False)) == first.findings


def test_survives_its_own_dump(registration: Registration) -> None:
    assert Registration.choose(registration.model_dump()) == registration


def test_threads_of_simpleitk_are_left_as_they_were(registration: Registration) -> None:
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    registration.build()(*pair(Transform.identity(), PET_VALUES))
    assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == before


def test_images_without_structure_keep_their_header(registration: Registration) -> None:
    flat = [Volume(np.zeros(grid.shape, np.float32), grid, "CT", "HU") for grid in (FIXED, MOVING)]
    assert registration.build()(*flat).transform.is_identity


@pytest.mark.parametrize(
    ("name", "values", "angle_deg", "shift_mm"),
    [
        ("rigid", CT_VALUES, 0.0, (5.0, 0.0, 0.0)),
        ("rigid", PET_VALUES, 4.0, (-8.0, 6.0, 4.0)),
        ("rigid", PET_VALUES, -3.0, (20.0, 17.0, -14.0)),
        ("rigid", CT_VALUES, 15.0, (20.0, 17.0, -14.0)),
    ],
    ids=["5 mm", "11 mm turned", "30 mm turned", "30 mm turned much"],
)
def test_a_planted_motion_is_recovered_within_half_a_voxel(
    name: str, values: tuple[float, ...], angle_deg: float, shift_mm: tuple[float, float, float]
) -> None:
    planted = rigid(angle_deg, shift_mm)
    found = Registration.choose(name).build()(*pair(planted, values))
    assert found.findings["accepted"], found.findings
    assert error_mm(found, planted) <= 0.5 * max(MOVING.spacing_mm), found.findings
    assert found.findings["similarity_after"] > found.findings["similarity_before"]
    assert found.findings["inverse_consistency_mm"] < 4.0


def test_describing_a_registration_does_not_need_simpleitk() -> None:
    import subprocess

    heavy = "{'SimpleITK', 'scipy', 'torch', 'numba'}"
    code = f"import sys, radfuse.align.stage as s; s.Align(); sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
