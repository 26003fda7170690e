"""Guided, variational, bilateral, masked and edge fusion: solvers against oracles, and what the papers claim."""

import logging
from functools import partial
from itertools import product
from math import exp, sqrt

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from radfuse.data.geometry import Geometry
from radfuse.errors import ConfigError, DataError
from radfuse.fuse.bilateral_grid import joint_bilateral
from radfuse.fuse.edge_map import EdgeMap
from radfuse.fuse.gradient_transfer import GradientTransfer
from radfuse.fuse.guided_filter import GuidedFilter, guided_filter
from radfuse.fuse.intensity_classes import classify
from radfuse.fuse.joint_bilateral import JointBilateral, local_gradient_energy
from radfuse.fuse.local_means import box_mean, box_sum, gaussian_mean, laplacian, shared_argmax
from radfuse.fuse.map_tv import MapTotalVariation, gaussian_proximal, level_and_noise, poisson_proximal
from radfuse.fuse.tissue_mask import TissueMask
from radfuse.fuse.total_variation import Gradient, minimise, steepest


def grid_of(shape, spacing=(1.0, 1.0, 1.0)):
    return Geometry((shape[2], shape[1], shape[0]), spacing)


def places(shape, spacing_zyx=(1.0, 1.0, 1.0)):
    """Distances in mm from the middle, along z, y, x."""
    axes = [(np.arange(n) - (n - 1) / 2) * h for n, h in zip(shape, spacing_zyx, strict=True)]
    return np.meshgrid(*axes, indexing="ij")


def ball(shape, radius_mm, spacing_zyx=(1.0, 1.0, 1.0)):
    z, y, x = places(shape, spacing_zyx)
    return z**2 + y**2 + x**2 <= radius_mm**2


def run(method, volumes, spacing=(1.0, 1.0, 1.0), names=("CT", "PET")):
    volumes = [np.asarray(volume, np.float32) for volume in volumes]
    return method.build("cpu")(volumes, names, grid_of(volumes[0].shape, spacing))


def tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64))


# ---- local means


def test_box_mean_is_the_mean_of_the_box_that_ends_with_the_volume(rng):
    volume, radius = rng.normal(size=(5, 6, 7)), (1, 9, 2)
    expected = np.empty_like(volume)
    for place in np.ndindex(volume.shape):
        box = tuple(slice(max(i - r, 0), i + r + 1) for i, r in zip(place, radius, strict=True))
        expected[place] = volume[box].mean()
    assert box_mean(tensor(volume), radius).numpy() == pytest.approx(expected, abs=1e-12)


def test_whole_numbers_in_a_box_are_counted_exactly(rng):
    votes = tensor(rng.integers(0, 2, (9, 20, 21)))
    counted, flipped = box_sum(votes, (3, 4, 5)), box_sum(votes.flip(0, 1, 2), (3, 4, 5)).flip(0, 1, 2)
    assert torch.equal(counted, counted.round())
    assert torch.equal(counted, flipped)


def test_gaussian_mean_is_scipys(rng):
    volume = rng.normal(size=(9, 11, 12))
    expected = gaussian_filter(volume, (0.8, 1.0, 2.0), mode="nearest", truncate=2.8)
    assert gaussian_mean(tensor(volume), (0.8, 1.0, 2.0)).numpy() == pytest.approx(expected, abs=1e-12)


def test_laplacian_of_a_parabola_is_twice_its_curvatures_whatever_the_voxel():
    z, y, x = places((5, 6, 7), (3.0, 1.0, 2.0))
    inner = laplacian(tensor(z**2 - 2 * y**2 + 0.5 * x**2), (3.0, 1.0, 2.0))[1:-1, 1:-1, 1:-1]
    assert inner.numpy() == pytest.approx(2 - 4 + 1)


def test_sources_that_tie_share_the_weight():
    scores = torch.tensor([1.0, 1.0, 0.0]).view(3, 1, 1, 1)
    assert shared_argmax(scores).ravel().tolist() == [0.5, 0.5, 0.0]


# ---- guided filter


def test_guided_filter_is_the_mean_of_the_local_regressions_worked_one_by_one(rng):
    # He et al. 2013: in every window w, (a, b) minimise sum (a I + b - p)^2 + epsilon |w| a^2; q is the mean over the
    # windows that hold the voxel of a I + b. Here each regression is solved as such.
    guide, values, radius, epsilon = rng.normal(size=(7, 7, 7)), rng.normal(size=(7, 7, 7)), 2, 0.3
    slope, offset = np.empty_like(guide), np.empty_like(guide)
    boxes = {place: tuple(slice(max(i - radius, 0), i + radius + 1) for i in place) for place in np.ndindex(7, 7, 7)}
    for place, box in boxes.items():
        inside, wanted = guide[box].ravel(), values[box].ravel()
        rows = np.vstack([np.column_stack([inside, np.ones_like(inside)]), [sqrt(epsilon * inside.size), 0]])
        slope[place], offset[place] = np.linalg.lstsq(rows, np.append(wanted, 0), rcond=None)[0]
    expected = np.array([(slope[box].mean() * guide[p] + offset[box].mean()) for p, box in boxes.items()])
    found = guided_filter(tensor(guide), tensor(values), (radius,) * 3, epsilon)
    assert found.numpy().ravel() == pytest.approx(expected, abs=1e-10)


def test_guided_filter_fusion_keeps_the_sharp_edges_of_both_sources(rng):
    shape = (16, 24, 40)
    _, _, x = places(shape)
    one, other = 0.5 * (x > -10) + 0.002 * rng.normal(size=shape), 0.5 * (x > 10) + 0.002 * rng.normal(size=shape)
    fused = run(GuidedFilter(), [one, other])
    steps = np.diff(fused, axis=2).mean(axis=(0, 1))
    # Each source steps by 0.5 between the voxels 9 | 10 and 29 | 30; the average would keep 0.25 of each.
    assert steps[9] > 0.4
    assert steps[29] > 0.4
    assert np.abs(np.delete(steps, [9, 29])).max() < 0.05


# ---- total variation and its solver


def test_total_variation_is_the_mean_over_the_midpoints_of_each_axis_worked_one_by_one(rng):
    shape, spacing = (3, 4, 2), (2.0, 1.0, 0.5)
    volume = rng.normal(size=shape)

    def value(place):
        return volume[tuple(np.clip(place, 0, np.array(shape) - 1))]

    families = []
    for f in range(3):
        total, unit = 0.0, np.eye(3, dtype=int)
        for low in product(*(range(n - (axis == f)) for axis, n in enumerate(shape))):
            low, high = np.array(low), np.array(low) + unit[f]
            vector = [(value(high) - value(low)) / spacing[f]]
            for g in set(range(3)) - {f}:
                nearest = [value(end + unit[g]) - value(end) for end in (low, high)]
                nearest += [value(end) - value(end - unit[g]) for end in (low, high)]
                vector.append(np.mean(nearest) / spacing[g])
            total += np.linalg.norm(vector)
        families.append(total)
    assert float(Gradient(shape, spacing).total_variation(tensor(volume))) == pytest.approx(np.mean(families))


def test_the_customary_forward_differences_would_change_under_a_flip_and_ours_do_not(rng):
    volume, gradient = tensor(rng.normal(size=(6, 7, 8))), Gradient((6, 7, 8), (1.0, 1.0, 1.0))
    assert float(gradient.total_variation(volume.flip(1))) == pytest.approx(float(gradient.total_variation(volume)))
    forward = [np.diff(v, axis=a, append=v.take([-1], a)) for v in (volume.numpy(),) for a in range(3)]
    flipped = [np.diff(v, axis=a, append=v.take([-1], a)) for v in (volume.flip(1).numpy(),) for a in range(3)]
    lengths = [np.sqrt(sum(d**2 for d in parts)).sum() for parts in (forward, flipped)]
    assert abs(lengths[0] - lengths[1]) > 0.1


@pytest.mark.parametrize("shape", [(6, 7, 5), (1, 6, 5), (4, 1, 1), (2, 3, 2)])
def test_the_divergence_is_minus_the_gradients_transpose_and_the_norm_is_bounded(shape, rng):
    gradient = Gradient(shape, (3.0, 1.0, 1.5))
    volume = tensor(rng.normal(size=shape))
    steep = gradient.at(volume)
    field = {f: [torch.from_numpy(rng.normal(size=tuple(v.shape))) for v in vectors] for f, vectors in steep.items()}
    left = sum(float((a * b).sum()) for f in field for a, b in zip(steep[f], field[f], strict=True))
    assert left == pytest.approx(float((volume * gradient.adjoint(field)).sum()))
    for _ in range(100):
        volume = gradient.adjoint(gradient.at(volume))
        largest = float(volume.norm())
        volume = volume / largest
    assert 0.8 * gradient.norm < sqrt(largest) <= gradient.norm


@pytest.mark.parametrize("spacing_mm", [1.0, 2.5])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_denoising_a_step_along_one_axis_moves_each_side_by_weight_over_its_length(axis, spacing_mm):
    # Rudin-Osher-Fatemi in one dimension: |u - y|^2 / 2 + weight |u'|. With sides of 4 and 6 voxels of 0 and 1 the
    # minimum has two levels a < b with 4 a = weight / h and 6 (1 - b) = weight / h.
    shape = [1, 1, 1]
    shape[axis] = 10
    step = tensor(np.repeat([0.0, 1.0], [4, 6])).view(shape)
    weight, pull = 0.6, 0.6 / spacing_mm
    found = minimise(
        step,
        gaussian_proximal,
        Gradient(tuple(shape), (spacing_mm,) * 3),
        weight,
        1.0,
        iterations=2000,
        tolerance=1e-9,
    )
    assert found.ravel().numpy() == pytest.approx(np.repeat([pull / 4, 1 - pull / 6], [4, 6]), abs=1e-6)


def test_the_solver_finds_a_minimum_that_no_small_change_improves(rng):
    # The objective is convex, so that a point which no direction improves is the minimum.
    shape, level, weight = (4, 5, 6), 0.5, 0.05
    measured = tensor(rng.poisson(5, shape) / 10)
    gradient = Gradient(shape, (2.0, 1.0, 1.0))

    def objective(u):
        data = level * (u - measured * u.clamp(min=1e-300).log()).sum()
        return float(data + weight * gradient.total_variation(u))

    proximal = partial(poisson_proximal, level=level)
    found = minimise(measured, proximal, gradient, weight, 0.2, iterations=20_000, tolerance=1e-10)
    least = objective(found)
    assert least < objective(measured) - 0.1
    for _ in range(200):
        change = tensor(rng.normal(size=shape)) * 10 ** rng.uniform(-4, -1)
        assert objective((found + change).clamp(min=0)) > least - 1e-9
    for scale in (0.9, 0.99, 1.01, 1.1):
        assert objective((found.mean() + scale * (found - found.mean())).clamp(min=0)) > least


@pytest.mark.parametrize("shape", [(7, 5, 6), (2, 5, 6), (1, 5, 6)])
def test_slabs_change_no_bit(shape, rng, monkeypatch):
    volume, gradient = tensor(rng.random(shape)), Gradient(shape, (2.0, 1.0, 1.5))
    fields = {
        "shift": gradient.at(tensor(rng.random(shape))),
        "directions": gradient.at(tensor(0.1 * rng.random(shape))),
    }
    made = []
    for voxels in (1, 60, 10**6):
        monkeypatch.setattr("radfuse.fuse.total_variation.SLAB_VOXELS", voxels)
        made.append(minimise(volume, gaussian_proximal, gradient, 0.2, 0.1, **fields, iterations=30, tolerance=0))
    assert float((made[2] - volume).abs().max()) > 0.01
    assert torch.equal(made[0], made[2])
    assert torch.equal(made[1], made[2])


def test_of_several_gradients_the_steepest_is_taken_at_each_place():
    gradient = Gradient((1, 1, 4), (1.0, 1.0, 1.0))
    rows = [tensor([[[0, 1, 1, 3]]]), tensor([[[0, -2, -2, -1]]])]
    assert steepest([gradient.at(row) for row in rows])[2][0].ravel().tolist() == [-2, 0, 2]


# ---- gradient transfer


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 2.0)])
@pytest.mark.parametrize("height", [1.0, 0.1])
def test_gradient_transfer_deletes_balls_below_three_times_the_weight_and_keeps_larger_ones(height, spacing):
    shape = (24, 24, 24) if spacing[2] == 1 else (12, 24, 24)
    left = {}
    for radius_mm in (5.0, 8.0):
        inside = ball(shape, radius_mm, spacing[::-1])
        fused = run(GradientTransfer(weight_mm=2.0, iterations=600), [np.zeros(shape), height * inside], spacing)
        left[radius_mm] = fused[inside].mean() / height
    # The surface of a ball of voxels is rounded, which costs the kept one its corners.
    assert abs(left[5.0]) < 0.02
    assert left[8.0] > 0.9


def test_gradient_transfer_warns_of_the_lesions_that_it_deletes(caplog):
    with caplog.at_level(logging.WARNING):
        GradientTransfer(smallest_lesion_mm=8).build("cpu")
        assert not caplog.records
        GradientTransfer(smallest_lesion_mm=8, weight_mm=3).build("cpu")
    assert "under 9 mm radius" in caplog.text
    assert "set weight_mm below 2.66" in caplog.text


def test_gradient_transfer_keeps_the_functional_intensities_under_the_anatomical_gradients():
    shape = (16, 32, 32)
    _, y, x = places(shape)
    functional = 0.1 + 0.4 * gaussian_filter((x**2 + y**2 < 100).astype(float), 2)
    # Anatomy: another level altogether, with a texture of small spots.
    anatomical = 0.5 + 0.1 * (np.sin(1.3 * x) * np.sin(1.3 * y) > 0.5)
    fused = run(GradientTransfer(), [anatomical, functional])
    # The spots average to 0.02 of their own.
    assert np.abs(gaussian_filter(fused, 4) - gaussian_filter(functional, 4)).max() < 0.04
    assert np.median(fused[:, 14:18, 14:18]) == pytest.approx(0.5, abs=0.02)
    assert np.median(fused[:, :4, :4]) == pytest.approx(0.1, abs=0.02)
    away = np.abs(np.hypot(x, y) - 10) > 5
    slopes = [np.stack(np.gradient(volume))[:, away].ravel() for volume in (fused, anatomical, functional)]
    assert np.corrcoef(slopes[0], slopes[1])[0, 1] > 0.95
    assert np.corrcoef(slopes[2], slopes[1])[0, 1] < 0.1


def test_gradient_transfer_follows_the_steepest_of_several_anatomical_sources():
    shape = (1, 24, 48)
    _, _, x = places(shape)
    ct, mr = 0.4 * (np.abs(x + 12) < 1), 0.4 * (np.abs(x - 12) < 1)
    fused = run(GradientTransfer(), [ct, mr, np.full(shape, 0.2)], names=("CT", "MR", "PET"))
    assert fused[0, 12, [11, 36]] == pytest.approx([0.6, 0.6], abs=0.01)
    assert np.median(fused) == pytest.approx(0.2, abs=0.01)


# ---- MAP


@pytest.mark.parametrize("level", [0.02, 1.0, 30.0])
def test_the_poisson_proximal_root_solves_its_equation(level, rng):
    measured, v, step = tensor(rng.gamma(1, 0.3, (6, 7, 8))), tensor(rng.normal(0, 2, (6, 7, 8))), 0.7
    measured[:2] = 0
    u = poisson_proximal(v, measured, step, level)
    assert (u >= 0).all()
    # Stationary: level (1 - y / u) + (u - v) / step = 0 where y > 0; where y = 0, max(v - step level, 0).
    found = (level * (1 - measured / u) + (u - v) / step)[2:]
    assert found.numpy() == pytest.approx(0, abs=1e-6)
    assert u[:2].numpy() == pytest.approx((v - step * level).clamp(min=0)[:2].numpy())


def test_the_poisson_proximal_is_exact_in_float32_where_the_sum_cancels():
    # With v = -1000 the root is about step level y / 1000 = 1e-4, lost in float32 if b + sqrt(b^2 + ...) is taken.
    u = poisson_proximal(torch.full((1, 1, 1), -1000.0), torch.full((1, 1, 1), 0.1), 1.0, 1.0)
    assert float(u) == pytest.approx(0.1 / 1001, rel=1e-3)


def test_the_noise_is_measured_under_a_slope(rng):
    shape = (20, 30, 30)
    _, y, x = places(shape)
    slope = 0.5 + 0.02 * x + 0.01 * y
    level, noise = level_and_noise(tensor(slope + 0.03 * rng.normal(size=shape)))
    # The brighter half of a slope from 0.065 to 0.935, as a share of whose mean the variance is taken.
    assert 0.6 < level < 0.8
    assert noise == pytest.approx(0.03, rel=0.2)
    assert level_and_noise(tensor(slope))[1] < 0.003
    assert level_and_noise(tensor(np.full(shape, 0.3)))[1] == 0


@pytest.fixture(scope="module")
def seen():
    """A lesion that CT shows too, a hot spot that it does not, and noise in both."""
    rng = np.random.default_rng(5)
    shape, spacing = (16, 40, 40), (1.0, 1.0, 2.0)
    z, y, x = places(shape, (2.0, 1.0, 1.0))
    body = x**2 + y**2 < 18**2
    lesion = (x - 5) ** 2 + y**2 + z**2 < 8**2
    spot = (x + 9) ** 2 + (y - 3) ** 2 + z**2 < 5**2
    truth = 0.1 * body + 0.3 * lesion + 0.2 * spot
    ct = 0.5 * body + 0.1 * lesion + 0.005 * rng.normal(size=shape)
    pet = {"poisson": rng.poisson(100 * truth) / 100, "gaussian": truth + 0.05 * rng.normal(size=shape)}
    return {"truth": truth, "body": body, "lesion": lesion, "spot": spot, "ct": ct, "pet": pet, "spacing": spacing}


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("likelihood", ["poisson", "gaussian"])
def test_map_with_the_aligned_prior_is_nearer_the_truth_than_total_variation_and_the_input(likelihood, strength, seen):
    pet = seen["pet"][likelihood]
    made = {
        prior: run(
            MapTotalVariation(likelihood=likelihood, prior=prior, strength=strength), [seen["ct"], pet], seen["spacing"]
        )
        for prior in ("tv", "aligned")
    }
    error = {
        name: ((image - seen["truth"])[seen["body"]] ** 2).mean() for name, image in {"input": pet, **made}.items()
    }
    if strength == 1.0:
        assert error["aligned"] < 0.6 * error["tv"]
    assert error["aligned"] < 1.02 * error["tv"]
    assert error["tv"] < 0.4 * error["input"]
    # The lesion's step of 0.3 across its border, in the one-voxel shells on either side.
    z, y, x = places(seen["truth"].shape, (2.0, 1.0, 1.0))
    away = np.sqrt((x - 5) ** 2 + y**2 + z**2)
    shells = (away > 7) & (away < 8), (away > 8) & (away < 9) & seen["body"]
    step = {prior: image[shells[0]].mean() - image[shells[1]].mean() for prior, image in made.items()}
    assert step["aligned"] > step["tv"]
    assert step["aligned"] > 0.26
    # What anatomy does not show stays as well.
    assert made["aligned"][seen["spot"]].mean() > 0.8 * 0.3


@pytest.mark.parametrize("likelihood", ["poisson", "gaussian"])
def test_map_keeps_the_functional_scale(likelihood, seen):
    pet = seen["pet"][likelihood]
    method = MapTotalVariation(likelihood=likelihood)
    once, thrice = (run(method, [seen["ct"], factor * pet], seen["spacing"]) for factor in (1, 3))
    assert thrice == pytest.approx(3 * once, abs=0.005)
    assert once[seen["body"]].mean() == pytest.approx(pet[seen["body"]].mean(), rel=0.03)


def test_map_with_a_poisson_likelihood_is_never_negative(seen):
    fused = run(MapTotalVariation(), [seen["ct"], seen["pet"]["gaussian"]], seen["spacing"])
    assert fused.min() >= 0


# ---- joint bilateral


def test_the_bilateral_grid_agrees_with_the_filter_worked_voxel_by_voxel(rng):
    shape, sigma, width = (6, 14, 15), (1.0, 2.0, 2.5), 0.1
    _, y, x = places(shape)
    guide = 0.4 * (x > 0.3) + 0.1 * np.sin(y / 3)
    values = guide + 0.1 * rng.normal(size=shape)
    expected = np.empty(shape)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"))
    for place in np.ndindex(shape):
        away = (index - np.reshape(place, (3, 1, 1, 1))) / np.reshape(sigma, (3, 1, 1, 1))
        weight = np.exp(-0.5 * (away**2).sum(0) - 0.5 * ((guide - guide[place]) / width) ** 2)
        expected[place] = (weight * values).sum() / weight.sum()
    found = joint_bilateral(tensor(values), tensor(guide), sigma, width).numpy()
    assert np.abs(expected - gaussian_filter(values, sigma)).max() > 0.1
    assert np.abs(found - expected).max() < 0.01
    assert np.abs(found - expected).mean() < 0.002


def test_joint_bilateral_smooths_textures_and_not_across_the_guides_edges(rng):
    shape = (8, 30, 30)
    _, _, x = places(shape)
    edge = 0.4 * (x > 0)
    texture = 0.04 * np.where((np.indices(shape).sum(0) % 2) == 0, 1, -1)
    found = joint_bilateral(tensor(edge + texture), tensor(edge), (3.0,) * 3, 0.05).numpy()
    inner = found[2:-2, 4:-4, 4:-4]
    assert np.abs(inner - edge[2:-2, 4:-4, 4:-4]).max() < 0.1 * 0.04
    assert found[4, 15, 15] - found[4, 15, 14] > 0.99 * 0.4
    assert gaussian_filter(edge, 3)[4, 15, 15] - gaussian_filter(edge, 3)[4, 15, 14] < 0.15 * 0.4


def test_joint_bilateral_fusion_takes_the_structure_of_the_livelier_source(rng):
    shape = (10, 30, 60)
    _, _, x = places(shape)
    texture = 0.05 * rng.normal(size=shape)
    one, other = 0.4 + texture * (x < -10), 0.4 + texture * (x > 10)
    fused = run(JointBilateral(), [one, other])
    both = 0.4 + texture * (np.abs(x) > 10)
    far = np.abs(np.abs(x) - 10) > 6
    correlation = np.corrcoef((fused - 0.4)[far & (both != 0.4)], (both - 0.4)[far & (both != 0.4)])[0, 1]
    assert correlation > 0.95


def test_local_gradient_energy_needs_no_eigenvalues(rng):
    volume, spacing, window = rng.normal(size=(5, 6, 7)), (2.0, 1.0, 1.5), (1, 1, 1)
    slopes = [
        np.gradient(np.pad(volume, 1, mode="edge"), h, axis=axis)[1:-1, 1:-1, 1:-1] for axis, h in enumerate(spacing)
    ]
    moments = np.empty((*volume.shape, 3, 3))
    for i, j in product(range(3), repeat=2):
        moments[..., i, j] = box_mean(tensor(slopes[i] * slopes[j]), window).numpy()
    e = np.linalg.eigvalsh(moments)
    pairs = (e[..., 0] - e[..., 1]) ** 2 + (e[..., 0] - e[..., 2]) ** 2 + (e[..., 1] - e[..., 2]) ** 2
    expected = np.sqrt(e.sum(-1) ** 2 + 0.5 * pairs) * box_mean(tensor(volume**2), window).numpy()
    assert local_gradient_energy(tensor(volume), spacing, window).numpy() == pytest.approx(expected, rel=1e-9)


def test_joint_bilateral_refuses_volumes_of_another_scale():
    raw = np.linspace(-1024, 3071, 60).reshape(3, 4, 5)
    with pytest.raises(DataError, match=r"span \d+ steps of 0\.05") as refused:
        run(JointBilateral(), [raw, raw / 4095])
    assert "normalisation" in refused.value.hint


# ---- tissue mask


def tissue_map(shape=(6, 8, 9)):
    return np.clip(ball(shape, 2.5) + 0.4 * ball(shape, 4), 0, 1).astype(np.float32)


def test_a_hard_mask_leaves_exactly_the_functional_source_inside_and_nothing_outside(rng):
    pet, tissue = rng.gamma(2, 0.1, (6, 8, 9)).astype(np.float32), tissue_map()
    fused = run(TissueMask(tissue="GM"), [tissue, pet], names=("GM", "PET"))
    assert np.array_equal(fused, np.where(tissue >= 0.5, pet, 0))
    soft = run(TissueMask(tissue="GM", membership="soft"), [tissue, pet], names=("GM", "PET"))
    assert soft == pytest.approx(tissue * pet)
    assert ((soft > 0) & (fused == 0)).any()


def layered(rng):
    """Brain-like shells: background, fluid, grey and white matter on MR; uptake mostly in the grey."""
    shape = (20, 24, 24)
    labels = sum(ball(shape, radius).astype(int) for radius in (11.5, 10, 7.5))
    mr = np.array([0.0, 0.15, 0.4, 0.7])[labels] + 0.02 * rng.normal(size=shape)
    pet = np.array([0.0, 0.05, 0.5, 0.15])[labels] + 0.01 * rng.normal(size=shape)
    return labels, mr.astype(np.float32), pet.astype(np.float32)


@pytest.mark.parametrize("segmentation", ["otsu", "mixture"])
@pytest.mark.parametrize("tissue_class", [2, None])
def test_grey_matter_is_found_by_its_place_among_the_classes_or_by_its_uptake(segmentation, tissue_class, rng):
    labels, mr, pet = layered(rng)
    method = TissueMask(segmentation=segmentation, classes=4, tissue_class=tissue_class)
    fused = run(method, [np.zeros_like(mr), mr, pet], names=("CT", "MR_T1", "PET"))
    assert np.array_equal(fused, np.where(labels == 2, pet, 0))


def test_the_soft_membership_of_a_mixture_is_bayes_rule(rng):
    shares, means, deviation = (0.6, 0.4), (0.2, 0.5), 0.08
    kind = rng.random((20, 40, 40)) < shares[1]
    values = (np.array(means)[kind.astype(int)] + deviation * rng.normal(size=kind.shape)).astype(np.float32)
    likelihoods = [s * np.exp(-0.5 * ((values - m) / deviation) ** 2) for s, m in zip(shares, means, strict=True)]
    expected = likelihoods[1] / sum(likelihoods)
    assert np.abs(classify(values, 2, "mixture").soft(1) - expected).max() < 0.05


def test_otsus_thresholds_have_the_largest_variance_between_classes(rng):
    values = rng.choice([0.1, 0.3, 0.35, 0.6, 0.8, 0.9], size=(6, 7, 8)).astype(np.float32)
    levels = np.unique(values)

    def between(low, high):
        groups = [values[values <= low], values[(values > low) & (values <= high)], values[values > high]]
        return sum(group.size * (group.mean() - values.mean()) ** 2 for group in groups)

    best = max(((a, b) for i, a in enumerate(levels[:-1]) for b in levels[i + 1 : -1]), key=lambda pair: between(*pair))
    expected = (values > best[0]).astype(int) + (values > best[1])
    assert np.array_equal(classify(values, 3, "otsu").labels, expected)


def test_a_volume_of_few_values_has_a_class_for_each():
    values = np.array([0, 0.7, 0.7, 0.2], np.float32).reshape(1, 1, 4)
    assert classify(values, 4, "otsu").labels.ravel().tolist() == [0, 2, 2, 1]


@pytest.mark.parametrize("factor", [3, 0.67])
def test_a_tissue_map_that_is_no_membership_is_refused(factor):
    with pytest.raises(DataError, match=f"GM goes from 0 to {factor}; expected a membership") as refused:
        run(TissueMask(tissue="GM"), [factor * tissue_map(), tissue_map()], names=("GM", "PET"))
    assert "kind: window" in refused.value.hint


def test_an_empty_tissue_leaves_nothing():
    assert not run(TissueMask(tissue="GM"), [0 * tissue_map(), tissue_map()], names=("GM", "PET")).any()


def test_a_source_cannot_mask_itself():
    with pytest.raises(ValueError, match="PET is named both"):
        TissueMask(functional="PET", tissue="PET")


@pytest.mark.parametrize("setting", ["tissue", "anatomical"])
def test_a_tissue_that_is_not_among_the_modalities_is_refused(setting):
    with pytest.raises(ConfigError, match=f"tissue_mask.{setting} is 'WM', which is not among"):
        run(TissueMask(**{setting: "WM"}), [tissue_map(), tissue_map()])


def test_nothing_to_mask_is_refused():
    with pytest.raises(ConfigError, match="nothing to mask"):
        run(TissueMask(tissue="GM", anatomical="MR"), [tissue_map(), tissue_map()], names=("GM", "MR"))


def test_a_class_beyond_the_last_is_refused():
    with pytest.raises(ValueError, match="found 3 of 3"):
        TissueMask(tissue_class=3)


# ---- edge map


@pytest.mark.parametrize("rule", ["max", "sum", "product"])
def test_the_edge_map_is_zero_on_constants_and_largest_at_the_shared_border(rule):
    shape = (8, 16, 60)
    _, _, x = places(shape)
    constant = np.full(shape, 0.3)
    assert np.abs(run(EdgeMap(rule=rule), [constant, constant])).max() == 0
    one, other = 0.4 * (x > 0) + 0.2 * (x > 15), 0.1 * (x > 0) + 0.05 * (x > -15)
    profile = run(EdgeMap(rule=rule), [one, other])[4, 8]
    assert set(np.flatnonzero(profile > 0.999 * profile.max())) == {29, 30}
    # The borders of one source alone, half as steep: as they are, halved by the mean, gone under the product.
    expected = {"max": 0.5, "sum": 0.25, "product": 0.0}[rule]
    assert profile[[14, 45]] / profile.max() == pytest.approx([expected] * 2, abs=0.01)


def test_the_edge_of_a_step_has_the_gaussians_profile():
    shape, sigma_mm = (4, 6, 61), 5.0
    _, _, x = places(shape)
    profile = run(EdgeMap(sigma_mm=sigma_mm), [0.7 * (x > 0.01) + 0.35 * (x == 0)] * 2)[2, 3]
    middle = shape[2] // 2
    expected = [exp(-0.5 * (away / sigma_mm) ** 2) for away in range(11)]
    assert profile[middle : middle + 11] / profile[middle] == pytest.approx(expected, abs=0.03)


def test_edges_are_measured_per_millimetre():
    shape, spacing = (30, 10, 60), (1.0, 1.0, 2.0)
    z, _, x = places(shape, (2.0, 1.0, 1.0))
    # A step of 0.5 along z at one end, and one along x at the other, smoothed well beyond the voxels.
    both = 0.5 * (z > 0) * (x < 0) + 0.5 * (x > 14)
    edges = run(EdgeMap(sigma_mm=4), [both, both], spacing)
    assert edges[14:16, 5, 12].mean() == pytest.approx(edges[3, 5, 43:45].mean(), rel=0.05)


# ---- all of them


@pytest.mark.parametrize("level", [0.0, 0.4])
@pytest.mark.parametrize(
    "method",
    [
        GuidedFilter(),
        GradientTransfer(),
        JointBilateral(),
        MapTotalVariation(likelihood="gaussian"),
        TissueMask(),
        EdgeMap(),
    ],
)
def test_sources_that_must_not_be_written_to_are_taken_and_not_handed_out_again(method, level):
    source = np.full((3, 4, 5), level, np.float32)
    source.flags.writeable = False
    fused = run(method, [source, source])
    assert not np.shares_memory(fused, source)
    assert fused.flags.writeable


@pytest.mark.parametrize(
    "method",
    [
        GuidedFilter(),
        GradientTransfer(iterations=2),
        JointBilateral(),
        MapTotalVariation(iterations=2),
        TissueMask(),
        EdgeMap(),
    ],
)
def test_the_number_of_threads_changes_no_bit(method, seen):
    threads = torch.get_num_threads()
    made = []
    # Large enough for torch to share the work among threads: more than 2^15 voxels.
    ct, pet = (np.tile(volume, (2, 1, 1)) for volume in (seen["ct"], seen["pet"]["poisson"]))
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            made.append(run(method, [ct, pet], seen["spacing"]).tobytes())
    finally:
        torch.set_num_threads(threads)
    assert made[0] == made[1]
