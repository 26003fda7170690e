"""Training of the fusion network: the loss by hand, the recipe, and what the shipped weights are worth."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError

from radfuse.data.geometry import Geometry
from radfuse.data.volume import Volume
from radfuse.errors import ConfigError, DataError
from radfuse.fuse.card import card
from radfuse.fuse.mdafuse import SHIPPED, SHIPPED_SHA256, MdAFuse
from radfuse.fuse.networks.loss import fusion_loss, ssim
from radfuse.fuse.networks.mdafuse import MdAFuseNet, parameters_of
from radfuse.fuse.networks.weights import load_weights, read_weights, save_weights
from radfuse.fuse.phantoms import phantom
from radfuse.fuse.training import (
    HELD_OUT,
    TRAINING,
    FusionTraining,
    Trained,
    average_loss,
    draw,
    mean_loss,
    normalised_set,
    phantom_sets,
    run_training,
    train,
    untrained,
)

REPOSITORY = Path(__file__).parent.parent.parent
SMALL = FusionTraining(steps=30, batch=2, crop=8, learning_rate=5e-3)


@pytest.fixture(scope="module")
def small_sets():
    return [normalised_set(phantom(np.random.default_rng([5, k]), (24, 26, 28))) for k in range(4)]


@pytest.fixture(scope="module")
def shipped() -> MdAFuseNet:
    network = MdAFuseNet()
    load_weights(network, read_weights(SHIPPED, SHIPPED_SHA256), str(SHIPPED))
    return network


def test_ssim_follows_its_definition_window_by_window():
    # Wang et al., TIP 13:600 (2004), equation 13, with C1 = 0.01 ** 2 and C2 = 0.03 ** 2, written out for each window.
    rng = np.random.default_rng(3)
    one = rng.uniform(0, 1, (7, 8, 9))
    other = one + rng.normal(0, 0.1, one.shape)
    values = []
    for y in range(2):
        for x in range(3):
            a, b = one[:, y : y + 7, x : x + 7].ravel(), other[:, y : y + 7, x : x + 7].ravel()
            (var_a, both), (_, var_b) = np.cov(a, b, bias=True)
            luminance = (2 * a.mean() * b.mean() + 1e-4) / (a.mean() ** 2 + b.mean() ** 2 + 1e-4)
            values.append(luminance * (2 * both + 9e-4) / (var_a + var_b + 9e-4))
    found = ssim(*(torch.from_numpy(array)[None, None] for array in (one, other)))
    assert float(found) == pytest.approx(np.mean(values), abs=1e-9)


def test_ssim_of_constant_volumes_by_hand():
    # Only luminance is left: (2 * 0.2 * 0.6 + 1e-4) / (0.04 + 0.36 + 1e-4).
    one, other = (torch.full((1, 1, 8, 8, 8), value, dtype=torch.float64) for value in (0.2, 0.6))
    assert float(ssim(one, other)) == pytest.approx(0.2401 / 0.4001)
    assert float(ssim(one, one)) == pytest.approx(1.0)


def test_loss_by_hand():
    # F = A: structure and intensity of A cost nothing; B costs 0.3 (1 - SSIM) + 0.7 * 0.4 ** 2.
    one, other = (torch.full((1, 1, 8, 8, 8), value, dtype=torch.float64) for value in (0.2, 0.6))
    expected = 0.3 * (1 - 0.2401 / 0.4001) + 0.7 * 0.16
    assert float(fusion_loss(one, [one, other], 0.0)) == pytest.approx(expected)
    assert float(fusion_loss(one, [one, other], 5.0)) == pytest.approx(expected)


def test_the_edge_term_asks_for_the_larger_edge():
    # A steps by 1 along x at one place and B is flat. F = A has all edges; F = B lacks one step of 1 in 3 along x.
    one = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 1, 2, 2, 4)
    flat = torch.zeros(1, 1, 2, 2, 4)
    plain = [float(fusion_loss(fused, [one, flat], 0.0)) for fused in (one, flat)]
    edged = [float(fusion_loss(fused, [one, flat], 1.0)) for fused in (one, flat)]
    assert edged[0] - plain[0] == pytest.approx(0.0, abs=1e-6)
    assert edged[1] - plain[1] == pytest.approx(1 / 3, abs=1e-6)


def test_thirty_steps_lower_the_loss_on_volumes_not_trained_on(small_sets):
    trained = run_training(SMALL, small_sets[:3], small_sets[3:], "cpu")
    assert len(trained.history) == 30
    assert np.mean(trained.history[-8:]) < np.mean(trained.history[:8])
    assert trained.losses["trained"] < 0.97 * trained.losses["untrained"]


def test_the_seed_decides_and_a_resumed_run_ends_like_an_unbroken_one(small_sets):
    recipe = SMALL.model_copy(update={"steps": 4})
    kept = []
    torch.manual_seed(1)
    state, history = train(recipe, small_sets, "cpu", lambda p: kept.append(p.checkpoint()) if p.step == 2 else None)
    torch.manual_seed(2)
    resumed, other_history = train(recipe, small_sets, "cpu", resume=kept[0])
    assert history == other_history
    assert save_weights(state) == save_weights(resumed)
    other, _ = train(recipe.model_copy(update={"seed": 9}), small_sets, "cpu")
    assert save_weights(other) != save_weights(state)


def test_training_leaves_the_number_of_threads_as_it_was(small_sets):
    before = torch.get_num_threads()
    train(SMALL.model_copy(update={"steps": 1, "threads": before + 1}), small_sets, "cpu")
    assert torch.get_num_threads() == before


def test_crops_are_padded_and_hold_two_or_three_modalities(small_sets):
    counts = set()
    for seed in range(20):
        drawn = draw(np.random.default_rng(seed), small_sets, 3, 40, 9)
        counts.add(len(drawn))
        assert {array.shape for array in drawn} == {(3, 1, 58, 58, 58)}
        assert all(array.dtype == np.float32 for array in drawn)
    assert counts == {2, 3}


def test_phantoms_to_learn_from_and_to_judge_by_are_different_and_follow_the_seed():
    recipe = FusionTraining(phantoms=1, held_out_phantoms=1)
    learn, judge, again = (phantom_sets(recipe, part)[0]["CT"] for part in (TRAINING, HELD_OUT, TRAINING))
    assert np.array_equal(learn, again)
    assert not np.array_equal(learn, judge)


def test_phantoms_show_what_scanners_show():
    made = [phantom(np.random.default_rng([8, k])) for k in range(3)]
    for images in made:
        assert set(images) == {"CT", "PET", "MR"}
        assert images["CT"].array.min() >= -1024
        assert 100 < images["CT"].array.max() < 3000
        assert images["PET"].array.min() >= 0
        assert 2 < images["PET"].array.max() < 60
        assert images["MR"].array.min() >= 0
        assert all(np.isfinite(image.array).all() for image in images.values())


def test_sets_on_two_grids_are_refused(ct, pet):
    small = Volume(np.zeros((2, 2, 2), np.float32), Geometry((2, 2, 2), (1.0, 1.0, 1.0)), "PET", "SUV")
    with pytest.raises(DataError, match="two or more modalities on one grid"):
        normalised_set({"CT": ct, "PET": small})
    with pytest.raises(DataError, match="two or more modalities on one grid"):
        normalised_set({"CT": ct})
    one, other = normalised_set({"CT": ct, "PET": pet}), normalised_set({"MR": ct, "US": pet})
    with pytest.raises(DataError, match="fewer than two modalities in common"):
        draw(np.random.default_rng(0), [one, other], 1, 8, 9)


def test_the_recipe_in_configs_is_the_one_of_the_shipped_card():
    recipe = FusionTraining.model_validate(yaml.safe_load((REPOSITORY / "configs/fusion/mdafuse.yaml").read_text()))
    text = SHIPPED.with_suffix(".md").read_text()
    assert recipe == FusionTraining.model_validate_json(text.partition("```json")[2].partition("```")[0])
    assert SHIPPED_SHA256 in text
    assert "radfuse fusion train configs/fusion/mdafuse.yaml" in text


def test_the_card_says_what_came_of_training():
    trained = Trained(b"12345", "ab" * 32, (0.8, 0.4), {"average": 0.3, "untrained": 0.5, "trained": 0.25})
    text = card(SMALL, trained, data="phantoms", licence="Apache-2.0", command="go", environment="torch")
    assert "0.5000 with random weights, 0.2500 trained (50% lower)" in text
    assert "- Size: 5 bytes" in text
    assert FusionTraining.model_validate_json(text.partition("```json")[2].partition("```")[0]) == SMALL


def test_the_network_is_small_and_its_weights_too(shipped):
    assert parameters_of(shipped) == 14_222
    assert SHIPPED.stat().st_size < 100_000


def judged(shipped: MdAFuseNet, held_out) -> tuple[float, float, float, float]:
    """Loss of the shipped weights, of those that training started from, of other random ones, and of the average."""
    start, other = (mean_loss(untrained(seed), held_out, "cpu") for seed in (0, 2))
    return mean_loss(shipped, held_out, "cpu"), start, other, average_loss(held_out)


@pytest.mark.slow
def test_shipped_weights_beat_random_ones_by_15_percent_on_phantoms_not_trained_on(shipped):
    loss, start, other, average = judged(
        shipped, [normalised_set(phantom(np.random.default_rng([77, k]), (24, 32, 32))) for k in range(3)]
    )
    assert loss < 0.85 * start
    assert loss < 0.85 * other
    # The average is the best there is for the intensity term, so there is little left to gain on it.
    assert loss < 0.98 * average


@pytest.mark.slow
@pytest.mark.cohort
def test_shipped_weights_beat_random_ones_by_10_percent_on_sarcomas_which_no_training_saw(shipped, sts):
    loss, start, other, average = judged(
        shipped, [normalised_set(sarcoma(sts, subject)) for subject in ("STS_002", "STS_003")]
    )
    assert loss < 0.9 * start
    assert loss < 0.9 * other
    assert loss < average


def sarcoma(sts: Path, subject: str) -> dict[str, Volume]:
    """A patient's three modalities on CT's grid at 2.5 mm; their headers share one frame of reference."""
    import SimpleITK as sitk

    from radfuse.data.volume import reference_image

    with (sts / "manifest.csv").open() as manifest:
        rows = [row for row in csv.DictReader(manifest) if row["subject"] == subject]
    images = {row["modality"]: sitk.ReadImage(str(sts / row["image"]), sitk.sitkFloat32) for row in rows}
    assert set(images) == {"CT", "PET", "MR"}
    grid = Volume.from_sitk(images["CT"], "CT", "HU").geometry.with_spacing_mm(2.5, 2.5, 2.5)
    units = {"CT": "HU", "PET": "SUV", "MR": "a.u."}
    outside = {"CT": -1000.0, "PET": 0.0, "MR": 0.0}
    return {
        name: Volume.from_sitk(
            sitk.Resample(
                image, reference_image(grid), sitk.Transform(), sitk.sitkLinear, outside[name], sitk.sitkFloat32
            ),
            name,
            units[name],
        )
        for name, image in images.items()
    }


def test_damaged_weights_are_refused(tmp_path):
    damaged = tmp_path / "w.safetensors"
    damaged.write_bytes(SHIPPED.read_bytes()[:-1] + b"\0")
    with pytest.raises(DataError, match="expected " + SHIPPED_SHA256):
        MdAFuse(weights=str(damaged), sha256=SHIPPED_SHA256).build("cpu")


def test_absent_weights_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="weights not found"):
        read_weights(tmp_path / "none.safetensors", SHIPPED_SHA256)


def test_weights_of_another_network_are_refused():
    content = save_weights({"layer": torch.zeros(2)})
    with pytest.raises(DataError, match="do not fit this network"):
        load_weights(MdAFuseNet(), content, "w")
    with pytest.raises(DataError, match="w are not a safetensors file"):
        load_weights(MdAFuseNet(), b"not safetensors at all", "w")


def test_weights_of_ones_own_need_their_hash_and_work(tmp_path):
    with pytest.raises(ValidationError, match="need their sha256"):
        MdAFuse(weights="mine.safetensors")
    with pytest.raises(ValidationError, match="the shipped weights have sha256"):
        MdAFuse(sha256="0" * 64)
    own = tmp_path / "mine.safetensors"
    own.write_bytes(SHIPPED.read_bytes())
    MdAFuse(weights=str(own), sha256=SHIPPED_SHA256).build("cpu")
