"""Sparse representation: patches, matching pursuit and dictionaries against oracles, and what the method promises."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.linear_model import orthogonal_mp_gram

from radfuse.data.geometry import Geometry
from radfuse.errors import ConfigError
from radfuse.fuse.dictionary_learning import cosine_atoms, first_atoms, learn_dictionary, left_over, orientations
from radfuse.fuse.learned_matrix import read_matrix
from radfuse.fuse.patch_learning import FLAT, JUDGING, LEARNING, PatchLearning, learn, phantom_patches
from radfuse.fuse.patches import cut, overlay
from radfuse.fuse.sparse import SHIPPED, SHIPPED_SHA256, SparseRepresentation
from radfuse.fuse.sparse_coding import matching_pursuit

REPOSITORY = Path(__file__).parent.parent.parent
SMALL = PatchLearning(phantoms=1, held_out_phantoms=1, patches=200, atoms=64, rounds=3)


def run(method, *volumes):
    names = ("CT", "MR", "PET")[: len(volumes)]
    z, y, x = volumes[0].shape
    return method.build("cpu")([np.asarray(v, np.float32) for v in volumes], names, Geometry((x, y, z), (1, 1, 2)))


def unit_rows(rng, count, length):
    rows = rng.normal(size=(count, length))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def dense(codes, atoms):
    full = torch.zeros(len(codes.atoms), atoms, dtype=torch.float64)
    return full.scatter_add_(1, codes.atoms, codes.coefficients).numpy()


# ---- patches


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("shape", [(9, 11), (8, 8), (1, 1), (3, 20)])
def test_patches_laid_back_give_the_slices(shape, stride, rng):
    slices = torch.from_numpy(rng.normal(size=(2, *shape)))
    again = overlay(cut(slices, 8, stride), shape, 8, stride)
    assert again.numpy() == pytest.approx(slices.numpy(), abs=1e-12)


def test_every_patch_of_a_slice_is_cut(rng):
    slices = rng.normal(size=(1, 5, 6))
    expected = np.lib.stride_tricks.sliding_window_view(slices[0], (3, 3)).reshape(-1, 9)
    assert np.array_equal(cut(torch.from_numpy(slices), 3)[0].numpy(), expected)


def test_a_slice_smaller_than_a_patch_goes_on_with_its_edges_on_both_sides():
    # One voxel is missing: one is added at either end, so that the flipped slice has the flipped patches.
    patches = cut(torch.arange(6.0).reshape(1, 2, 3), 3)
    assert patches.reshape(2, 3, 3).tolist() == [
        [[0, 1, 2], [0, 1, 2], [3, 4, 5]],
        [[0, 1, 2], [3, 4, 5], [3, 4, 5]],
    ]


def test_overlapping_patches_are_averaged():
    # Patches of 2 x 2, each of one value, lie over a slice of 2 x 4 in three places.
    patches = torch.tensor([1.0, 3.0, 8.0]).reshape(1, 3, 1).expand(1, 3, 4)
    assert overlay(patches, (2, 4), 2).tolist() == [[[1.0, 2.0, 5.5, 8.0]] * 2]


# ---- matching pursuit


def test_a_patch_of_three_atoms_is_found_exactly(rng):
    dictionary = unit_rows(rng, 96, 64)
    planted = np.zeros((20, 96))
    for row in planted:
        row[rng.choice(96, 3, replace=False)] = rng.choice([-1, 1], 3) * rng.uniform(1, 2, 3)
    signals = planted @ dictionary
    codes = matching_pursuit(torch.from_numpy(signals), torch.from_numpy(dictionary), 12, 1e-9)
    assert dense(codes, 96) == pytest.approx(planted, abs=1e-10)
    assert codes.residual.abs().max() < 1e-10


def test_codes_are_those_of_scikit_learn(rng):
    dictionary, signals = unit_rows(rng, 256, 64), rng.normal(size=(40, 64))
    codes = matching_pursuit(torch.from_numpy(signals), torch.from_numpy(dictionary), 9)
    expected = orthogonal_mp_gram(dictionary @ dictionary.T, dictionary @ signals.T, n_nonzero_coefs=9).T
    assert dense(codes, 256) == pytest.approx(expected, abs=1e-9)
    assert codes.residual.numpy() == pytest.approx(signals - expected @ dictionary, abs=1e-9)


def test_the_error_stops_each_signal_as_in_scikit_learn(rng):
    dictionary, signals = unit_rows(rng, 256, 64), rng.normal(size=(40, 64)) * rng.uniform(0.1, 2, (40, 1))
    codes = matching_pursuit(torch.from_numpy(signals), torch.from_numpy(dictionary), 64, 2.0)
    expected = orthogonal_mp_gram(
        dictionary @ dictionary.T, dictionary @ signals.T, tol=4.0, norms_squared=(signals**2).sum(axis=1)
    ).T
    # scikit-learn gives an atom even to signals that need none.
    expected[np.linalg.norm(signals, axis=1) <= 2] = 0
    assert dense(codes, 256) == pytest.approx(expected, abs=1e-8)
    terms = (codes.coefficients != 0).sum(dim=1)
    assert terms.min() == 0
    assert terms.max() > 5


def test_atoms_that_are_used_up_end_the_pursuit():
    dictionary = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.6, 0.8, 0.0]], dtype=torch.float64)
    codes = matching_pursuit(torch.tensor([[3.0, -2.0, 5.0]], dtype=torch.float64), dictionary, 3)
    assert codes.residual[0].tolist() == pytest.approx([0, 0, 5])
    assert (dense(codes, 3) @ dictionary.numpy())[0] == pytest.approx([3, -2, 0])


def test_of_two_atoms_that_fit_alike_the_first_is_taken():
    dictionary = torch.tensor([[0.6, 0.8], [0.8, 0.6]], dtype=torch.float64)
    codes = matching_pursuit(torch.tensor([[1.0, 1.0], [1.0, 1.0 + 1e-13]], dtype=torch.float64), dictionary, 1)
    assert codes.atoms.tolist() == [[0], [0]]


# ---- dictionaries


def test_the_eight_orientations_are_those_of_a_square():
    ways = orientations(3)
    square = np.arange(9).reshape(3, 3)
    turned = {tuple(np.rot90(one, k).ravel()) for one in (square, np.fliplr(square)) for k in range(4)}
    assert {tuple(way) for way in ways} == turned
    assert len(turned) == 8


def test_phantom_patches_are_uneven_have_no_mean_and_share_none_between_parts():
    given, held_out = (phantom_patches(SMALL, part, 1, 90) for part in (LEARNING, JUDGING))
    # Thirty from each modality, less where most of an image is flat.
    assert given.shape[1] == held_out.shape[1] == 64
    assert 60 < len(given) <= 90
    assert np.abs(given.mean(axis=1)).max() < 1e-12
    assert given.std(axis=1).min() > FLAT
    assert not set(map(bytes, given)) & set(map(bytes, held_out))
    assert np.array_equal(given, phantom_patches(SMALL, LEARNING, 1, 90))


def test_a_learned_dictionary_beats_its_beginning_and_cosines_on_patches_it_never_saw(rng):
    # Patches made of two of eight hidden atoms, in any orientation.
    hidden = rng.normal(size=(8, 16))
    every = hidden[:, orientations(4)].reshape(-1, 16)
    drawn = every[rng.integers(0, 64, (3000, 2))] * rng.normal(size=(3000, 2, 1))
    patches = torch.from_numpy(drawn.sum(axis=1))
    learned = learn_dictionary(patches[:2500], 64, 2, 12, 0)
    left = left_over(patches[2500:], learned, 2)
    assert left < 0.8 * left_over(patches[2500:], first_atoms(patches[:2500], 64, 0), 2)
    assert left < 0.8 * left_over(patches[2500:], cosine_atoms(4, 64), 2)


def test_the_shipped_dictionary_is_learned_and_closed_under_turning():
    atoms = read_matrix(SHIPPED, SHIPPED_SHA256, "dictionary")
    assert atoms.shape == (256, 64)
    assert atoms.norm(dim=1).numpy() == pytest.approx(1, abs=1e-6)
    assert atoms.sum(dim=1).abs().max() < 1e-5
    rows = {tuple(atom) for atom in atoms.float().tolist()}
    for way in orientations(8):
        assert {tuple(atom) for atom in atoms.float()[:, way].tolist()} == rows
    # Held-out phantoms: the card says 0.213 against 0.284 for cosines.
    patches = torch.from_numpy(phantom_patches(PatchLearning(), JUDGING, 1, 300))
    assert left_over(patches, atoms, 5) < 0.9 * left_over(patches, cosine_atoms(8, 256), 5)
    assert f"`{SHIPPED_SHA256}`" in SHIPPED.with_suffix(".md").read_text(encoding="utf-8")


def test_learning_twice_gives_the_same_bytes():
    first, second = learn(SMALL), learn(SMALL)
    assert first.content == second.content
    assert len(first.judged) == 3
    with pytest.raises(ConfigError, match="1 patches cannot start 64 atoms"):
        learn(SMALL.model_copy(update={"patches": 1}))


@pytest.mark.parametrize(("what", "name"), [("dictionary", "sparse_dictionary"), ("projection", "mdlatlrr_projection")])
def test_the_script_writes_weights_that_the_method_takes_and_their_card(what, name, tmp_path):
    script = REPOSITORY / "pipelines" / "learn_fusion_dictionary.py"
    options = ["--phantoms", "1", "--held-out-phantoms", "1", "--patches", "36", "--rounds", "1", "-o", str(tmp_path)]
    options += ["--patches", "9"] if what == "projection" else []
    done = subprocess.run([sys.executable, script, what, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / f"{name}.md").read_text(encoding="utf-8")
    recipe = json.loads(text.split("```json")[1].split("```")[0])
    assert (recipe["what"], recipe["phantoms"], recipe["patches"]) == (what, 1, 9 if what == "projection" else 36)
    sha256 = text.split("SHA-256: `")[1][:64]
    assert read_matrix(tmp_path / f"{name}.safetensors", sha256, what).shape[1] == 64


# ---- the method


def halves(rng, shape=(1, 40, 40)):
    """Two volumes on levels of their own, the first with texture on the left only, the second on the right only."""
    left = np.arange(shape[2]) < shape[2] // 2
    waves = [
        np.sin(np.arange(40)[:, None] * a + np.arange(40) * b + rng.uniform(0, 6)) for a, b in ((0.6, 0.3), (0.2, 0.7))
    ]
    return 0.3 + 0.2 * waves[0] * left[None, None], 0.6 + 0.2 * waves[1] * ~left[None, None]


def test_detail_of_one_source_on_the_left_and_of_the_other_on_the_right_is_kept_whole(rng):
    one, other = halves(rng)
    fused = run(SparseRepresentation(), one, other)
    # Away from the border between them each side is its own source, level and all.
    assert fused[..., :12] == pytest.approx(one[..., :12], abs=0.03)
    assert fused[..., 28:] == pytest.approx(other[..., 28:], abs=0.03)


def test_the_mean_level_keeps_the_detail_of_both_on_the_mean_of_their_levels(rng):
    one, other = halves(rng)
    fused = run(SparseRepresentation(level="mean"), one, other)
    # The mean of the levels is 0.45; what a wave adds to the mean of its patch is halved.
    for source, level, where in ((one, 0.3, slice(0, 12)), (other, 0.6, slice(28, 40))):
        detail, kept = source[..., where] - level, fused[..., where] - 0.45
        assert np.corrcoef(detail.ravel(), kept.ravel())[0, 1] > 0.97


def test_patches_that_are_flat_everywhere_take_the_mean(rng):
    one, other = (level + rng.normal(0, 0.001, (1, 12, 12)) for level in (0.2, 0.8))
    assert run(SparseRepresentation(), one, other) == pytest.approx(0.5, abs=0.002)


def test_what_is_within_the_error_is_lost_and_what_is_beyond_is_kept(rng):
    wave = np.sin(np.arange(24)[:, None] * 0.5 + np.arange(24) * 0.4)[None]
    assert run(SparseRepresentation(), 0.5 + 0.008 * wave, 0.5 + 0 * wave).std() < 0.003
    seen = run(SparseRepresentation(), 0.5 + 0.2 * wave, 0.5 + 0 * wave)
    assert np.sqrt(((seen - 0.5 - 0.2 * wave) ** 2).mean()) < 0.01


def test_with_stride_one_flipped_and_turned_slices_and_crops_are_fused_alike(rng):
    method = SparseRepresentation(stride=1)
    pair = [rng.uniform(0, 1, (2, 21, 22)) for _ in range(2)]
    whole = run(method, *pair)
    for change in (lambda v: v[:, ::-1], lambda v: v[:, :, ::-1], lambda v: v.transpose(0, 2, 1)):
        assert np.abs(run(method, *map(change, pair)) - change(whole)).max() < 1e-5
    part = run(method, *(volume[:, 1:20, 2:21] for volume in pair))
    assert np.abs(part[:, 7:12, 7:12] - whole[:, 8:13, 9:14]).max() < 1e-6


def test_three_planes_are_averaged(rng):
    pair = [rng.uniform(0, 1, (10, 11, 12)) for _ in range(2)]
    planes = [
        np.moveaxis(run(SparseRepresentation(), *(np.moveaxis(volume, axis, 0) for volume in pair)), 0, axis)
        for axis in range(3)
    ]
    assert run(SparseRepresentation(planes="three"), *pair) == pytest.approx(np.mean(planes, axis=0), abs=1e-6)


def test_a_named_dictionary_needs_its_sha256():
    with pytest.raises(ValidationError, match="need their sha256"):
        SparseRepresentation(weights="mine.safetensors")
