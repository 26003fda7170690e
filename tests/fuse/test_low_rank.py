"""Low-rank fusion: the solver against known constructions and its own dual, and what the methods promise."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from radfuse.data.geometry import Geometry
from radfuse.errors import ConfigError, DataError
from radfuse.fuse import low_rank
from radfuse.fuse.dictionary_learning import learn_projection, orientations
from radfuse.fuse.latlrr import LatentLowRankFusion
from radfuse.fuse.learned_matrix import read_matrix
from radfuse.fuse.low_rank import latent_low_rank, shrink_singular_values, soft_threshold
from radfuse.fuse.mdlatlrr import SHIPPED, SHIPPED_SHA256, MultiLevelLatentLowRank, weighted_by_nuclear_norm


def grid_of(shape):
    return Geometry((shape[2], shape[1], shape[0]), (1.0, 1.0, 2.0))


def run(method, *volumes):
    names = ("CT", "MR", "PET")[: len(volumes)]
    return method.build("cpu")([np.asarray(v, np.float32) for v in volumes], names, grid_of(volumes[0].shape))


def nuclear(matrix):
    return float(torch.linalg.svdvals(matrix).sum())


def planted(rng, rows, columns, size=0.2, share=0.03):
    """A matrix of rank 2 with a few outliers: the matrix, and each of the two."""
    low = rng.normal(size=(rows, 2)) @ rng.normal(size=(2, columns))
    outliers = np.where(rng.random((rows, columns)) < share, rng.choice([-size, size], (rows, columns)), 0.0)
    return torch.from_numpy(low + outliers)[None], low, outliers


# ---- proximal maps


def test_singular_values_of_a_diagonal_matrix_are_lowered_by_the_threshold():
    found = shrink_singular_values(torch.diag(torch.tensor([3.0, -2.0, 0.5], dtype=torch.float64))[None], 1.0)[0]
    assert found.numpy() == pytest.approx(np.diag([2.0, -1.0, 0.0]), abs=1e-12)


@pytest.mark.parametrize("shape", [(5, 7), (7, 5), (6, 6)])
def test_singular_values_are_lowered_as_by_a_full_decomposition(shape, rng):
    matrix = rng.normal(size=shape)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    expected = (left * np.maximum(values - 0.8, 0)) @ right
    assert shrink_singular_values(torch.from_numpy(matrix)[None], 0.8)[0].numpy() == pytest.approx(expected, abs=1e-12)


def test_values_are_moved_towards_zero_by_the_threshold():
    found = soft_threshold(torch.tensor([-3.0, -0.5, 0.0, 1.0, 2.5]), 1.0)
    assert found.tolist() == [-2.0, 0.0, 0.0, 0.0, 1.5]


# ---- the solver


@pytest.mark.parametrize(("rows", "columns"), [(24, 30), (30, 24), (25, 25)])
def test_outliers_are_told_from_a_matrix_of_low_rank(rows, columns, rng):
    matrix, low, outliers = planted(rng, rows, columns)
    parts = latent_low_rank(matrix, 0.4, 1.1, 1e-7)
    explained = (parts.low_rank + parts.salient)[0].numpy()
    before = np.linalg.norm(outliers) / np.linalg.norm(low)
    assert before > 0.01
    assert np.linalg.norm(explained - low) / np.linalg.norm(low) < 0.01 * before
    assert parts.sparse[0].numpy() == pytest.approx(outliers, abs=0.01)


def test_the_parts_add_up_and_are_made_by_the_mixings(rng):
    matrix, _, _ = planted(rng, 12, 17)
    parts = latent_low_rank(matrix, 0.3, 1.2, 1e-6)
    assert (matrix - parts.low_rank - parts.salient - parts.sparse).abs().max() < 1e-6
    assert torch.equal(parts.low_rank, matrix @ parts.mixing_columns)
    assert torch.equal(parts.salient, parts.mixing_rows @ matrix)


def test_no_other_parts_could_cost_much_less(rng):
    # The dual problem bounds the cost from below: max <X, Y> with |X'Y|_2 <= 1, |Y X'|_2 <= 1, |Y|_max <= weight.
    matrix, weight = torch.from_numpy(rng.uniform(0, 1, (14, 18)))[None], 0.3
    parts = latent_low_rank(matrix, weight, 1.02, 1e-7)
    x, y = matrix[0], parts.multipliers[0]
    norms = [float(torch.linalg.matrix_norm(product, 2)) for product in (x.T @ y, y @ x.T)]
    bound = float((x * y).sum()) / max(1.0, *norms, float(y.abs().max()) / weight)
    cost = nuclear(parts.mixing_columns[0]) + nuclear(parts.mixing_rows[0]) + weight * float(parts.sparse.abs().sum())
    assert bound * (1 - 1e-6) <= cost < 1.03 * bound


def test_the_transposed_matrix_swaps_the_parts(rng):
    matrix, _, _ = planted(rng, 11, 15, size=0.5, share=0.1)
    parts, turned = (latent_low_rank(given, 0.1, 1.2, 1e-6) for given in (matrix, matrix.mT.contiguous()))
    assert turned.low_rank.mT.numpy() == pytest.approx(parts.salient.numpy(), abs=1e-9)
    assert turned.sparse.mT.numpy() == pytest.approx(parts.sparse.numpy(), abs=1e-9)


def test_a_matrix_does_not_depend_on_its_neighbours(rng):
    three = torch.from_numpy(rng.uniform(0, 1, (3, 9, 12)) * np.array([1.0, 0.1, 5.0])[:, None, None])
    together = latent_low_rank(three, 0.3, 1.3, 1e-6)
    for k in range(3):
        alone = latent_low_rank(three[k : k + 1], 0.3, 1.3, 1e-6)
        assert together.low_rank[k].numpy() == pytest.approx(alone.low_rank[0].numpy(), abs=1e-12)


def test_a_solver_that_does_not_arrive_says_so(rng, monkeypatch):
    monkeypatch.setattr(low_rank, "MOST_ITERATIONS", 3)
    with pytest.raises(DataError, match=r"missed its tolerance of 1e-06 after 3 iterations on 2 of 2 slices") as caught:
        latent_low_rank(torch.from_numpy(rng.normal(size=(2, 5, 6))), 0.8, 1.2, 1e-6)
    assert "growth" in caught.value.hint


# ---- latlrr


def halves(rng, shape=(2, 24, 26)):
    """Two volumes on one level, the first woven on the left only, the second on the right only."""
    left = np.arange(shape[2]) < shape[2] // 2
    texture = 0.2 * rng.normal(size=(2, *shape[:2], 1)) * rng.normal(size=(2, shape[0], 1, shape[2]))
    return 0.5 + texture[0] * left, 0.5 + texture[1] * ~left, left


@pytest.mark.parametrize("method", [LatentLowRankFusion(), LatentLowRankFusion(transposed="apart")])
def test_latlrr_keeps_the_detail_of_both_sources_at_three_quarters(method, rng):
    one, other, left = halves(rng)
    fused = run(method, one, other)
    for source, where in ((one, left), (other, ~left)):
        detail, kept = (volume[..., where] - volume[..., where].mean() for volume in (source, fused))
        assert np.corrcoef(detail.ravel(), kept.ravel())[0, 1] > 0.98
        assert (detail * kept).sum() / (detail**2).sum() == pytest.approx(0.75, abs=0.05)


def test_latlrr_leaves_out_what_is_sparse(rng):
    matrix, low, outliers = planted(rng, 24, 30)
    fused = run(LatentLowRankFusion(sparse_weight=0.4), matrix.numpy(), np.zeros((1, 24, 30)))[0]
    # One of two sources is nothing: 3/4 of the other is left, by hand: 1/2 (1/2 + 1) X + 0.
    assert fused == pytest.approx(0.75 * low, abs=0.01)
    assert np.abs(fused - 0.75 * (low + outliers)).max() > 0.1


def test_latlrr_as_published_is_the_mean_of_one_part_and_the_sum_of_the_other(rng):
    sources = [rng.uniform(0, 1, (2, 12, 9)).astype(np.float32) for _ in range(3)]
    parts = [latent_low_rank(torch.from_numpy(source).double(), 0.1, 1.2, 1e-6) for source in sources]
    low, salient = (sum(getattr(part, name) for part in parts).numpy() for name in ("low_rank", "salient"))
    assert run(LatentLowRankFusion(sparse_weight=0.1, transposed="apart"), *sources) == pytest.approx(
        low / 3 + salient, abs=1e-6
    )


def test_latlrr_turns_with_the_slice_only_when_averaged(rng):
    sources = [np.outer(rng.uniform(0, 1, 14), rng.uniform(0, 1, 14))[None] for _ in range(2)]
    sources = [source + 0.2 * (rng.random((1, 14, 14)) < 0.1) for source in sources]
    turned = [source.transpose(0, 2, 1) for source in sources]

    def change(method):
        return np.abs(run(method, *turned).transpose(0, 2, 1) - run(method, *sources)).max()

    assert change(LatentLowRankFusion(sparse_weight=0.1)) < 1e-5
    assert change(LatentLowRankFusion(sparse_weight=0.1, transposed="apart")) > 1e-3


# ---- mdlatlrr


def test_patches_are_weighted_by_the_sum_of_their_singular_values():
    one, other = np.diag([2.0, -1.0]).ravel(), np.array([[0.0, 1.0], [0.0, 0.0]]).ravel()
    found = weighted_by_nuclear_norm([torch.from_numpy(patch).reshape(1, 1, 4) for patch in (one, other)], 2)
    # Singular values 2 and 1 against 1 alone.
    assert found[0, 0].numpy() == pytest.approx(0.75 * one + 0.25 * other)


def test_patches_without_detail_weigh_the_same():
    nothing = torch.zeros(1, 1, 4, dtype=torch.float64)
    assert weighted_by_nuclear_norm([nothing, nothing], 2).tolist() == [[[0.0, 0.0, 0.0, 0.0]]]


def test_the_shipped_projection_takes_details_and_turns_with_the_patch():
    matrix = read_matrix(SHIPPED, SHIPPED_SHA256, "projection")
    assert matrix.shape == (64, 64)
    assert (matrix @ torch.ones(64, dtype=torch.float64)).abs().max() < 1e-6
    for way in torch.from_numpy(orientations(8)):
        assert (matrix[way][:, way] - matrix).abs().max() < 1e-7
    values = torch.linalg.eigvals(matrix).real
    # Half of what patches share, little of what they do not.
    assert float(values.max()) == pytest.approx(0.5, abs=0.1)
    assert float(values.median()) < 0.1


def test_a_projection_is_learned_from_patches_that_share_two_patterns(rng):
    shared = np.stack(np.meshgrid(*[np.linspace(-1, 1, 4)] * 2)).reshape(2, 16)
    patches = torch.from_numpy(rng.normal(size=(12, 2)) @ shared)
    matrix = learn_projection(patches, 0.4)
    # Without noise the patches' span is halved between the two mixings, and the rest goes to neither.
    span = np.linalg.svd(shared)[2][:2]
    assert matrix.numpy() == pytest.approx(0.5 * span.T @ span, abs=1e-3)


def test_mdlatlrr_keeps_more_of_the_detail_than_the_average_in_both_halves(rng):
    from scipy.ndimage import gaussian_filter

    one, other, _ = halves(rng, (1, 40, 40))
    one, other = (0.5 + gaussian_filter(2 * (volume - 0.5), (0, 1.5, 1.5)) for volume in (one, other))
    found = run(MultiLevelLatentLowRank(), one, other)
    for source, mostly in ((one, np.arange(40) < 12), (other, np.arange(40) >= 28)):
        detail, kept = (volume[..., mostly] - 0.5 for volume in (source, found))
        # The average keeps a half.
        assert 0.6 < (detail * kept).sum() / (detail**2).sum() < 1.02


def test_more_levels_take_more_detail(rng):
    one, other, _ = halves(rng, (1, 24, 24))
    average = (one + other) / 2
    change = [np.abs(run(MultiLevelLatentLowRank(levels=n), one, other) - average).mean() for n in (1, 2, 4)]
    assert change[0] < change[1] < change[2]


def test_a_named_projection_needs_its_sha256():
    with pytest.raises(ValidationError, match="need their sha256"):
        MultiLevelLatentLowRank(weights="mine.safetensors")
    with pytest.raises(ValidationError, match="the shipped weights have sha256"):
        MultiLevelLatentLowRank(sha256="1" * 64)


def test_weights_that_are_not_there_or_of_another_kind_are_refused(tmp_path):
    from hashlib import sha256

    from safetensors.torch import save

    with pytest.raises(ConfigError, match="weights not found") as caught:
        MultiLevelLatentLowRank(weights=str(tmp_path / "none"), sha256="0" * 64).build("cpu")
    assert "learn_fusion_dictionary" in caught.value.hint
    for content, message in (
        (b"nonsense", "not a safetensors file"),
        (save({"dictionary": torch.zeros(3, 16)}), "hold dictionary and projection of shape None"),
        (save({"projection": torch.zeros(3, 15)}), r"projection of shape \(3, 15\)"),
    ):
        path = tmp_path / "weights.safetensors"
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_matrix(path, sha256(content).hexdigest(), "projection")
