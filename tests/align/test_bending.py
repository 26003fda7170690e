"""What bends: planted bends come back, folds and stretches are refused, and a bend travels to the grid and to disk."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from radfuse.align.grid import carry, lattice_mm, resample
from radfuse.align.registration import Registration
from radfuse.align.registration.bspline import BSpline
from radfuse.align.registration.demons import Demons
from radfuse.align.registration.gate import BendGate
from radfuse.align.registration.similarity import Judge
from radfuse.data.deformation import Deformation
from radfuse.data.geometry import Geometry
from radfuse.data.subject import Subject
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask, Volume
from radfuse.run.store import Store
from radfuse.run.subjects import load_aligned, save_aligned

GRID = Geometry((36, 34, 30), (3.0, 3.0, 3.0), (-50.0, -48.0, -40.0))
FIELD = Geometry((12, 12, 10), (10.0, 10.0, 10.0), (-55.0, -53.0, -45.0))
IDENTITY = Transform.identity()


def centres_mm(grid: Geometry) -> np.ndarray:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1).reshape(-1, 3)[:, ::-1]
    return index @ grid.index_to_physical[:3, :3].T + np.asarray(grid.origin_mm)


def bump(height_mm: float, along: int = 2) -> Deformation:
    """Push the middle along an axis; flat at the border."""
    far = np.linalg.norm(centres_mm(FIELD), axis=1)
    field = np.zeros((len(far), 3))
    field[:, along] = height_mm * np.exp(-0.5 * (far / 22.0) ** 2)
    return Deformation(IDENTITY, field.reshape(*FIELD.shape, 3).astype(np.float32), FIELD)


def scene(points: np.ndarray, contrast: float) -> np.ndarray:
    """Give blobs of many sizes, alike everywhere; ``contrast`` bends the grey values."""
    rng = np.random.default_rng(5)
    value = np.zeros(len(points))
    for centre, size in zip(rng.uniform(-45, 45, (60, 3)), rng.uniform(6, 14, 60), strict=True):
        value += np.exp(-0.5 * (np.linalg.norm(points - centre, axis=1) / size) ** 2)
    return np.sin(contrast * value) * 100.0


def pair(truth: Deformation, contrast: float = 0.7) -> tuple[Volume, Volume]:
    """Give a moving image, and a fixed one whose points lie in it where ``truth`` takes them."""
    moving = Volume(scene(centres_mm(GRID), contrast).reshape(GRID.shape).astype(np.float32), GRID, "MR", "a.u.")
    there = scene(truth.apply(centres_mm(GRID)), 0.7).reshape(GRID.shape).astype(np.float32)
    return Volume(there, GRID, "CT", "HU"), moving


@pytest.mark.parametrize(
    ("member", "contrast"),
    [(BSpline(linear="none", control_mm=25.0, iterations=8), 1.1), (Demons(linear="none", smoothing_mm=5.0), 0.7)],
    ids=["bspline across contrasts", "demons alike"],
)
def test_a_planted_bend_is_mostly_undone(member: Registration, contrast: float) -> None:
    truth = bump(8.0)
    found = member.build()(*pair(truth, contrast))
    assert found.findings["accepted"], found.findings
    points = lattice_mm(GRID)
    before = np.linalg.norm(truth.bend_mm(points), axis=1)
    after = np.linalg.norm(found.transform.apply(points) - truth.apply(points), axis=1)
    middle = before > 4.0
    assert after[middle].mean() < 0.3 * before[middle].mean()
    assert found.findings["bend"]["jacobian_min"] > 0.3
    assert found.findings["bend"]["inverse_consistency_mm"] < 3.0
    assert found.findings["displacement_mm"] < 12.0


def judged(gate: BendGate, truth: Deformation, bent: Deformation, back: Deformation) -> dict:
    judge = Judge.over(*pair(truth), 5000)
    return gate.judge(judge, IDENTITY, bent, lambda: back)[1]


def test_the_true_bend_passes_with_its_way_back() -> None:
    found = judged(BendGate(), bump(8.0), bump(8.0), bump(-8.0))
    assert found["accepted"], found
    assert found["bend_mm"] == pytest.approx(8.0, rel=0.1)


@pytest.mark.parametrize(
    ("gate", "bent", "back", "reason"),
    [
        (BendGate(), bump(-8.0), bump(8.0), "less than the 10 % asked for"),
        (BendGate(max_bend_mm=5.0), bump(8.0), bump(-8.0), "a point bends by 7 mm, more than 5 mm"),
        (BendGate(), bump(60.0, along=0), bump(0.0), "space folds: the Jacobian determinant falls to -"),
        (BendGate(max_stretch=1.1), bump(8.0), bump(-8.0), "stretch beyond a factor 1.1, more than 1 %"),
        (BendGate(max_inverse_mm=1.0), bump(8.0), bump(8.0), "bending back ends"),
    ],
)
def test_every_objection_keeps_the_linear_alignment(
    gate: BendGate, bent: Deformation, back: Deformation, reason: str
) -> None:
    found = judged(gate, bump(8.0), bent, back)
    assert reason in found["reason"]
    assert not found["accepted"]


def test_the_overlap_is_asked_for() -> None:
    outwards = Deformation(IDENTITY, np.full((*FIELD.shape, 3), 30.0, np.float32), FIELD)
    fixed, moving = pair(outwards)
    gate = BendGate(max_bend_mm=99.0)
    found = gate.judge(Judge.over(fixed, moving, 5000), IDENTITY, outwards, lambda: outwards)[1]
    assert "of the points stay inside, fewer than 90 %" in found["reason"]


def test_a_bend_starts_from_a_straight_alignment() -> None:
    with pytest.raises(ValidationError, match="starts from none, rigid or affine; found 'demons'"):
        BSpline(linear="demons")
    with pytest.raises(ValidationError, match="starts from none, rigid or affine; found 'bspline'"):
        Demons(linear="bspline")


def test_images_and_masks_are_carried_along_a_bend() -> None:
    truth = bump(8.0)
    fixed, moving = pair(truth)
    inner = (slice(5, -5),) * 3
    back = resample(moving, GRID, truth).array[inner]
    assert np.corrcoef(back.ravel(), fixed.array[inner].ravel())[0, 1] > 0.99
    ball = (np.linalg.norm(centres_mm(GRID) - [0, 0, 8.0], axis=1) < 12).reshape(GRID.shape)
    carried = carry(Mask(ball.astype(np.uint8), GRID), GRID, truth)
    expected = (np.linalg.norm(truth.apply(centres_mm(GRID)) - [0, 0, 8.0], axis=1) < 12).reshape(GRID.shape)
    assert 2 * (carried.inside & expected).sum() > 0.95 * (carried.voxels + expected.sum())


def test_a_bend_is_stored_beside_its_matrix_and_read_again(tmp_path: Path) -> None:
    bent = Deformation(Transform.about((1, 2, 3), np.eye(3), (0.1, 0.2, 0.3)), bump(8.0).field_mm, FIELD)
    _, moving = pair(bump(0.0))
    subject = Subject("s1", {"MR": moving}, transforms={"MR": bent, "CT": IDENTITY})
    store = Store(tmp_path)
    files = save_aligned(store.folder("align", "s1"), subject)
    assert {"MR.tfm", "MR.field.nii.gz", "CT.tfm"} <= set(files)
    assert "CT.field.nii.gz" not in files
    again = load_aligned(store, "s1").transforms
    assert again["MR"] == bent
    assert again["CT"] == IDENTITY
