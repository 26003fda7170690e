"""Training of the fusion network: the loss by hand, the recipe, and what the shipped weights are worth."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from radfuse.data.geometry import Geometry
from radfuse.data.volume import Volume
from radfuse.errors import ConfigError, DataError, GeometryError
from radfuse.fuse.mdafuse import SHIPPED, SHIPPED_SHA256, MdAFuse
from radfuse.fuse.networks.crops import draw
from radfuse.fuse.networks.learning import Sliced, Volumetric
from radfuse.fuse.networks.loss import fusion_loss, ssim
from radfuse.fuse.networks.mdafuse import MdAFuseNet, parameters_of
from radfuse.fuse.networks.recipe import FusionTraining, Scans
from radfuse.fuse.networks.weights import load_weights, read_weights, save_weights
from radfuse.fuse.phantoms import phantom
from radfuse.fuse.training import (
    HELD_OUT,
    TRAINING,
    VALIDATION,
    average_loss,
    mean_loss,
    normalised_set,
    phantom_sets,
    run_training,
    train,
    untrained,
)

SMALL = FusionTraining(steps=20, batch=2, crop=8, learning_rate=5e-3, validate_every=10, validation_crops=4)
FLAT = FusionTraining(method="mdafuse_published", steps=2, batch=2, crop=16, validate_every=10, validation_crops=2)


@pytest.fixture(scope="module")
def small_sets():
    return [normalised_set(phantom(np.random.default_rng([5, k]), (16, 18, 20))) for k in range(4)]


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


def test_twenty_steps_lower_the_loss_on_volumes_not_trained_on(small_sets):
    trained = run_training(SMALL, small_sets[:2], small_sets[2:3], small_sets[3:], "cpu")
    assert len(trained.history) == 20
    assert np.mean(trained.history[-8:]) < np.mean(trained.history[:8])
    assert sorted(trained.validation) == [10, 20]
    assert trained.losses["trained"] < 0.97 * trained.losses["untrained"]


@pytest.mark.parametrize("recipe", [SMALL, FLAT], ids=["mdafuse", "mdafuse_published"])
def test_the_seed_decides_and_a_resumed_run_ends_like_an_unbroken_one(recipe, small_sets):
    recipe = recipe.model_copy(update={"steps": 4, "validate_every": 1, "validation_crops": 2})
    sides = small_sets[:3], small_sets[3:]
    kept = []
    torch.manual_seed(1)
    whole = train(recipe, *sides, "cpu", lambda p: kept.append(p.checkpoint()) if p.step == 2 else None)
    torch.manual_seed(2)
    resumed = train(recipe, *sides, "cpu", resume=kept[0])
    assert whole.history == resumed.history
    assert whole.validation == resumed.validation
    assert save_weights(dict(whole.state)) == save_weights(dict(resumed.state))
    other = train(recipe.model_copy(update={"seed": 9}), *sides, "cpu")
    assert save_weights(dict(other.state)) != save_weights(dict(whole.state))


def test_training_stops_when_validation_gets_no_better_and_keeps_the_best_weights(small_sets):
    # Far too fast a learner: it gets worse, and what is kept is what an unbroken look at each step would choose.
    recipe = SMALL.model_copy(update={"steps": 40, "validate_every": 1, "patience": 3, "learning_rate": 0.5})
    states = {}
    learned = train(
        recipe,
        small_sets[:3],
        small_sets[3:],
        "cpu",
        lambda p: states.update({p.step: p.checkpoint()["network"]}),
    )
    assert len(learned.history) < 40
    assert learned.best_step == min(learned.validation, key=learned.validation.get)
    assert len(learned.history) == learned.best_step + 3
    assert save_weights(dict(learned.state)) == save_weights(states[learned.best_step])
    assert save_weights(dict(learned.state)) != save_weights(states[len(learned.history)])


def test_patience_zero_never_stops(small_sets):
    recipe = SMALL.model_copy(
        update={"steps": 6, "validate_every": 1, "patience": 0, "learning_rate": 0.5, "validation_crops": 2}
    )
    assert len(train(recipe, small_sets[:3], small_sets[3:], "cpu").history) == 6


def test_bfloat16_learns_nearly_what_float32_learns(small_sets):
    recipes = [FLAT.model_copy(update={"steps": 3, "precision": precision}) for precision in ("float32", "bfloat16")]
    exact, rough = (train(recipe, small_sets[:3], small_sets[3:], "cpu") for recipe in recipes)
    assert exact.history != rough.history
    assert rough.history == pytest.approx(exact.history, rel=0.05)
    assert {value.dtype for value in rough.state.values()} == {torch.float32, torch.int64}


def test_training_leaves_the_number_of_threads_as_it_was(small_sets):
    before = torch.get_num_threads()
    recipe = SMALL.model_copy(update={"steps": 1, "threads": before + 1})
    train(recipe, small_sets[:3], small_sets[3:], "cpu")
    assert torch.get_num_threads() == before


def test_crops_are_padded_and_hold_two_or_three_modalities(small_sets):
    counts = set()
    for seed in range(20):
        drawn = draw(np.random.default_rng(seed), small_sets, 3, (40, 40, 40), 9)
        counts.add(len(drawn))
        assert {array.shape for array in drawn} == {(3, 1, 58, 58, 58)}
        assert all(array.dtype == np.float32 for array in drawn)
    assert counts == {2, 3}


def test_flat_crops_come_from_all_three_planes():
    # Every voxel tells its place, so that the axis on which a crop stands still is the plane it was cut from.
    places = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in (9, 10, 11)), indexing="ij"))
    planes = set()
    for seed in range(30):
        rngs = (np.random.default_rng(seed) for _ in range(3))
        cuts = [
            draw(rng, [{"A": place, "B": place}], 1, (1, 6, 6), 0)[0] for rng, place in zip(rngs, places, strict=True)
        ]
        assert {cut.shape for cut in cuts} == {(1, 1, 1, 6, 6)}
        planes.add(tuple(float(np.ptp(cut)) == 0 for cut in cuts))
    assert planes == {(True, False, False), (False, True, False), (False, False, True)}


def patients(*names: str) -> list[dict[str, object]]:
    return [{"patient": name, "images": {"CT": f"{name}/ct.nii", "PET": f"{name}/pet.nii"}} for name in names]


def test_the_split_is_by_patient_and_follows_the_seed_not_the_order():
    # Patient A was scanned three times; all of A's scans are on one side.
    listed = patients("A", "B", "C", "D", "E")
    again = [{"patient": "A", "images": {"CT": f"A/ct{k}.nii", "PET": f"A/pet{k}.nii"}} for k in (2, 3)]
    asides = set()
    for seed in range(12):
        recipe = FusionTraining(volumes=[*listed, *again], validation=0.4, seed=seed)
        learnt, aside = ({scans.patient for scans in part} for part in recipe.split())
        assert not learnt & aside
        assert learnt | aside == set("ABCDE")
        assert len(aside) == 2
        assert sum(map(len, recipe.split())) == 7
        turned = FusionTraining(volumes=[*again, *listed[::-1]], validation=0.4, seed=seed)
        assert {scans.patient for scans in turned.split()[1]} == aside
        asides.add(frozenset(aside))
    assert len(asides) > 2


def test_at_least_one_patient_is_on_each_side():
    for part in (0.01, 0.99):
        sides = FusionTraining(volumes=patients("A", "B", "C"), validation=part).split()
        assert sorted(map(len, sides)) == [1, 2]


def test_a_patient_on_two_sides_is_refused():
    with pytest.raises(ValidationError, match="B would be learned from and held out"):
        FusionTraining(volumes=patients("A", "B"), held_out=patients("B"))
    renamed = [{**patients("A")[0], "patient": "Z"}]
    with pytest.raises(ValidationError, match="is listed for two patients, A and Z"):
        FusionTraining(volumes=patients("A", "B"), held_out=renamed)
    with pytest.raises(ValidationError, match="two patients or more"):
        FusionTraining(volumes=patients("A"))
    with pytest.raises(ValidationError, match="names none to learn from"):
        FusionTraining(held_out=patients("A"))
    assert Scans.model_validate(patients("A")[0]).patient == "A"


def test_phantoms_to_learn_from_and_to_judge_by_are_different_and_follow_the_seed():
    recipe = FusionTraining(phantoms=1, validation_phantoms=1, held_out_phantoms=1)
    parts = (TRAINING, VALIDATION, HELD_OUT, TRAINING)
    learn, stop, judge, again = (phantom_sets(recipe, part)[0]["CT"] for part in parts)
    assert np.array_equal(learn, again)
    assert not np.array_equal(learn, judge)
    assert not np.array_equal(learn, stop)
    assert not np.array_equal(stop, judge)


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
    with pytest.raises(GeometryError, match=r"one grid, found CT against PET: size \(24, 24, 12\) against \(2, 2, 2\)"):
        normalised_set({"CT": ct, "PET": small})
    x, y, z = pet.geometry.origin_mm
    shifted = replace(pet, geometry=replace(pet.geometry, origin_mm=(x + 30, y, z)))
    with pytest.raises(GeometryError, match=r"one grid, found CT against PET: origin shifted by \(30, 0, 0\) mm"):
        normalised_set({"CT": ct, "PET": shifted})
    with pytest.raises(DataError, match="two or more modalities, found CT"):
        normalised_set({"CT": ct})
    one, other = normalised_set({"CT": ct, "PET": pet}), normalised_set({"MR": ct, "US": pet})
    with pytest.raises(DataError, match="fewer than two modalities in common"):
        draw(np.random.default_rng(0), [one, other], 1, (8, 8, 8), 9)


def test_the_network_is_small_and_its_weights_too(shipped):
    assert parameters_of(shipped) == 14_222
    assert SHIPPED.stat().st_size < 100_000


def judged(shipped: MdAFuseNet, held_out) -> tuple[float, float, float, float]:
    """Loss of the shipped weights, of those that training started from, of other random ones, and of the average."""
    learner = Volumetric()
    start, other = (mean_loss(learner, untrained(FusionTraining(seed=k)), held_out, "cpu") for k in (0, 2))
    return mean_loss(learner, shipped, held_out, "cpu"), start, other, average_loss(learner, held_out)


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


def test_slices_are_judged_one_by_one():
    # Two slices that differ: in a 3-D window their likeness would mix, in a flat one each has its own.
    volume = np.zeros((16, 12, 12), np.float32)
    volume[0], volume[8] = 0.2, 0.6
    learner = Sliced()
    shown = learner.shown(volume)
    assert shown[:, 0, 0] == pytest.approx([0.2, 0.6])
    one, other = learner.batch(shown), learner.batch(shown[::-1].copy())
    # float32 leaves the variances of constants a little off zero.
    assert float(ssim(one, other)) == pytest.approx(0.2401 / 0.4001, abs=5e-4)


def test_halved_weights_come_back_as_float32_and_only_kernels_are_rounded():
    network = untrained(FLAT)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    content = save_weights(state, halved=True)
    assert len(content) < 0.52 * len(save_weights(state))
    load_weights(network, content, "w")
    for name, value in network.state_dict().items():
        assert value.dtype == state[name].dtype
        assert torch.equal(value, state[name].half().float() if value.dim() > 3 else state[name])


def test_damaged_weights_are_refused(tmp_path):
    damaged = tmp_path / "w.safetensors"
    damaged.write_bytes(SHIPPED.read_bytes()[:-1] + b"\0")
    with pytest.raises(ConfigError, match="expected " + SHIPPED_SHA256):
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
