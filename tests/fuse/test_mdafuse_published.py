"""The published MdAFuse: its size and topology, its order of combination by hand, slices, planes and background."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from radfuse.data.geometry import Geometry
from radfuse.errors import DataError
from radfuse.fuse.mdafuse_published import SHIPPED, SHIPPED_SHA256, MdAFusePublished
from radfuse.fuse.networks.learning import Sliced
from radfuse.fuse.networks.published import LEAST_SIDE, ColumnAffine, PublishedNet, folded, ready
from radfuse.fuse.networks.recipe import FusionTraining
from radfuse.fuse.networks.slices import CORONAL, SAGITTAL, fuse_sliced
from radfuse.fuse.networks.weights import load_weights, read_weights, save_weights
from radfuse.fuse.phantoms import phantom
from radfuse.fuse.training import average_loss, mean_loss, normalised_set, untrained


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def lively(affine: str = "channel", combine: str = "code") -> PublishedNet:
    """A network with random weights and batch statistics that are not those of a newborn."""
    recipe = FusionTraining(method="mdafuse_published", affine=affine, combine=combine, seed=4)
    network = untrained(recipe)
    rng = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(0.1 * torch.randn(module.num_features, generator=rng))
                module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=rng))
        for name, parameter in network.affine.named_parameters():
            parameter.copy_(("scale" in name) + 0.3 * torch.randn(parameter.shape, generator=rng))
    return network.eval()


def fuse(member: MdAFusePublished, *volumes: np.ndarray) -> np.ndarray:
    z, y, x = volumes[0].shape
    return member.build("cpu")(volumes, "ABC"[: len(volumes)], Geometry((x, y, z), (1.0, 1.0, 1.0)))


def stored(network: PublishedNet, folder: Path) -> dict[str, str]:
    content = save_weights(dict(network.state_dict()))
    (folder / "w.safetensors").write_bytes(content)
    return {"weights": str(folder / "w.safetensors"), "sha256": hashlib.sha256(content).hexdigest()}


@pytest.fixture
def pair(rng) -> list[np.ndarray]:
    return [rng.uniform(0, 1, (4, 20, 24)).astype(np.float32) for _ in range(2)]


def test_the_three_modules_have_the_published_numbers_of_parameters():
    # Wen et al. 2024, counted in the public program; 512 are the map by columns, 1,231 the two heads.
    network = PublishedNet("column")
    assert [parameters(part) for part in (network.coarse, network.fine, network.multi)] == [99_412, 1_496_720, 37_766]
    assert parameters(network.affine) == 512
    assert parameters(network.structure) + parameters(network.last) == 1_231
    assert parameters(network) == 1_635_641
    assert parameters(PublishedNet("channel")) == 1_635_641 - 512 + 2 * (16 + 16 + 3 + 3)


def test_a_pair_of_256_by_256_costs_the_published_number_of_products():
    # 203.67 GMAC for a pair, counted in the public program; without memory, so without time.
    products, shapes = [], {}

    def count(module: nn.Conv2d, given: tuple[torch.Tensor], made: torch.Tensor) -> None:
        products.append(made.shape[0] * made[0, 0].numel() * module.weight.numel())

    with torch.device("meta"):
        network = PublishedNet("column").eval()
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(count)
        for name in ("coarse", "fine", "multi"):
            shapes[name] = tuple(getattr(network, name)(torch.rand(2, 1, 256, 256)).shape)
        network.last(network.structure(torch.rand(1, 16, 256, 256)))
    assert sum(products) / 1e9 == pytest.approx(203.67, abs=0.005)
    assert shapes == {"coarse": (2, 16, 256, 256), "fine": (2, 16, 256, 256), "multi": (2, 3, 256, 256)}


@pytest.mark.parametrize("size", [(LEAST_SIDE, LEAST_SIDE), (17, 31), (33, 20)])
def test_slices_of_any_size_keep_it(size):
    with torch.no_grad():
        assert lively()([torch.rand(2, 1, *size) for _ in range(3)]).shape == (2, 1, *size)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("combine", ["code", "paper"])
def test_features_are_combined_in_the_order_named(combine, count):
    # Stand-ins for the modules give each modality its own constant features, so that the order can be followed by hand.
    network = lively(combine=combine)
    coarse, fine, multi = [1.0, 5.0, -2.0][:count], [4.0, 2.0, 3.0][:count], [0.2, 0.4, 0.9][:count]

    class Fixed(nn.Module):
        def __init__(self, values, channels):
            super().__init__()
            self.values, self.channels = values, channels

        def forward(self, slices):
            return torch.tensor(self.values).view(-1, 1, 1, 1).expand(-1, self.channels, *slices.shape[2:])

    class Given(nn.Module):
        def __init__(self):
            super().__init__()
            self.seen = None

        def forward(self, features):
            self.seen = features
            return features[:, :3]

    class Plain(nn.Module):
        def forward(self, features, kind):
            return features

    wide = network.coarse.wide
    network.coarse, network.fine, network.multi = Fixed(coarse, 16), Fixed(fine, 16), Fixed(multi, 3)
    network.coarse.wide = wide
    network.structure, network.affine, network.last = Given(), Plain(), nn.Identity()
    with torch.no_grad():
        made = network([torch.zeros(1, 1, 16, 16) for _ in range(count)])
    by_hand = {
        ("code", 2): max(4 + 2, 1 + 5),
        ("paper", 2): max(1 + 4, 5 + 2),
        ("code", 3): max(2 * np.mean([4, 2, 3]), 2 * np.mean([1, 5, -2])),
        ("paper", 3): max(1 + 4, 5 + 2, -2 + 3),
    }[combine, count]
    assert network.structure.seen.unique().tolist() == pytest.approx([by_hand])
    assert made.unique().tolist() == pytest.approx([np.tanh((by_hand + np.mean(multi)) / 2)])


def test_the_map_by_columns_scales_the_last_axis():
    affine = ColumnAffine()
    with torch.no_grad():
        affine.scale[..., 7], affine.shift[..., 9] = 3.0, 0.5
    mapped = affine(torch.ones(1, 2, 4, 256), "coarse")
    assert (mapped[..., 7] == 3.0).all()
    assert (mapped[..., 9] == 1.5).all()
    assert (mapped[..., 8] == 1.0).all()


def test_folding_the_batch_norms_changes_nothing_but_the_time():
    network, slices = lively(), [torch.rand(1, 1, 24, 28) for _ in range(2)]
    with torch.inference_mode():
        plain, merged = network(slices), folded(network)(slices)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded(network).modules())
    assert torch.allclose(plain, merged, atol=1e-5)
    assert plain.std() > 1e-3


@pytest.mark.parametrize("size", [240, 255])
def test_the_map_by_columns_refuses_another_width_and_says_what_to_do(size, tmp_path):
    member = MdAFusePublished(affine="column", **stored(lively("column"), tmp_path))
    with pytest.raises(DataError, match=f"256 image columns; these slices have {size}") as refused:
        fuse(member, *[np.ones((1, 16, size), np.float32)] * 2)
    assert "affine: channel" in refused.value.hint


@pytest.mark.parametrize("combine", ["code", "paper"])
@pytest.mark.parametrize("affine", ["column", "channel"])
def test_every_variant_fuses_slices_of_256_columns(affine, combine, tmp_path, rng):
    member = MdAFusePublished(affine=affine, combine=combine, **stored(lively(affine, combine), tmp_path))
    pair = [rng.uniform(0, 1, (1, 16, 256)).astype(np.float32) for _ in range(2)]
    fused = fuse(member, *pair)
    assert fused.shape == (1, 16, 256)
    with torch.inference_mode():
        expected = lively(affine, combine)([torch.from_numpy(volume)[:, None] for volume in pair])[:, 0].numpy()
    assert fused == pytest.approx(expected, abs=1e-5)


def test_the_order_of_combination_matters():
    slices = [torch.rand(1, 1, 20, 20) for _ in range(2)]
    with torch.no_grad():
        code, paper = (lively(combine=combine)(slices) for combine in ("code", "paper"))
    assert (code - paper).abs().max() > 1e-3


def test_a_slice_is_fused_as_if_it_were_alone(pair):
    whole = fuse(MdAFusePublished(), *pair)
    alone = fuse(MdAFusePublished(), *(volume[2:3] for volume in pair))
    assert np.array_equal(whole[2:3], alone)


def test_slices_at_once_change_no_answer(pair):
    network = ready(lively(), "float32")
    one, many = (fuse_sliced(network, pair, at_once=count, device="cpu") for count in (1, 3))
    assert np.array_equal(one, many)
    with torch.inference_mode():
        batch = network([torch.from_numpy(volume)[:, None] for volume in pair])[:, 0].numpy()
    assert batch == pytest.approx(one, abs=1e-5)


def test_three_planes_are_the_mean_of_three_directions(pair):
    network = PublishedNet()
    load_weights(network, read_weights(SHIPPED, SHIPPED_SHA256), str(SHIPPED))
    network = ready(network, "float32")
    axial = fuse(MdAFusePublished(), *pair)
    others = [fuse_sliced(network, pair, axis=axis, at_once=1, device="cpu") for axis in (CORONAL, SAGITTAL)]
    assert fuse(MdAFusePublished(planes="three"), *pair) == pytest.approx((axial + sum(others)) / 3, abs=1e-6)
    # A coronal slice is an axial one of the volume stood on its side.
    stood = fuse(MdAFusePublished(), *(np.moveaxis(volume, 1, 0) for volume in pair))
    assert np.moveaxis(stood, 0, 1) == pytest.approx(others[0], abs=1e-6)


def test_small_slices_are_continued_by_their_edges(rng):
    small = [rng.uniform(0, 1, (1, 9, LEAST_SIDE)).astype(np.float32) for _ in range(2)]
    large = [np.pad(volume, ((0, 0), (3, 4), (0, 0)), mode="edge") for volume in small]
    assert np.array_equal(fuse(MdAFusePublished(), *small), fuse(MdAFusePublished(), *large)[:, 3:12])


def test_zero_background_stays_zero_unless_asked_for_as_published(pair):
    empty = np.zeros(pair[0].shape, bool)
    empty[:, :8], empty[3] = True, True
    given = [np.where(empty, 0, volume).astype(np.float32) for volume in pair]
    kept, published = (fuse(MdAFusePublished(zero_background=kept), *given) for kept in (True, False))
    assert (kept[empty] == 0).all()
    assert np.abs(published[empty]).max() > 1e-4
    assert np.array_equal(kept[~empty], published[~empty])


def test_the_noise_of_air_is_background_where_it_is_told_how_far_from_zero_it_goes(pair, rng):
    air = np.zeros(pair[0].shape, bool)
    air[:, :8] = True
    noise = rng.uniform(-0.01, 0.01, pair[0].shape)
    given = [np.where(air, noise, 0.05 + volume).astype(np.float32) for volume in pair]
    given[1][0, 0, 0] = 0.5  # no air in one of the two
    plain, told = (fuse(MdAFusePublished(background=limit), *given) for limit in (0.0, 0.02))
    assert (plain[air] != 0).all()
    assert told[0, 0, 0] == plain[0, 0, 0] != 0
    air[0, 0, 0] = False
    assert (told[air] == 0).all()
    assert np.array_equal(told[~air], plain[~air])


def test_one_modality_zero_is_no_background(pair):
    fused = fuse(MdAFusePublished(), pair[0], np.zeros_like(pair[1]))
    assert (fused != 0).any(axis=(1, 2)).all()


def test_bfloat16_stays_within_two_hundredths_of_the_range(pair):
    exact, rough = (fuse(MdAFusePublished(precision=precision), *pair) for precision in ("float32", "bfloat16"))
    assert not np.array_equal(exact, rough)
    assert np.abs(exact - rough).max() < 2e-2


def test_shipped_weights_are_small_enough_and_fit_only_what_they_learned():
    assert SHIPPED.stat().st_size < 3_400_000
    for setting in ({"combine": "paper"}, {"affine": "column"}):
        with pytest.raises(ValidationError, match="the shipped weights learned `affine: channel` and `combine: code`"):
            MdAFusePublished(**setting)
    with pytest.raises(ValidationError, match="need their sha256"):
        MdAFusePublished(weights="mine.safetensors")
    with pytest.raises(ValidationError, match="the shipped weights have sha256"):
        MdAFusePublished(sha256="0" * 64)


def test_weights_of_the_other_map_do_not_fit(tmp_path):
    with pytest.raises(DataError, match="do not fit this network"):
        MdAFusePublished(affine="column", **stored(lively("channel"), tmp_path)).build("cpu")


@pytest.mark.slow
def test_shipped_weights_beat_random_ones_by_20_percent_and_come_near_the_average():
    held_out = [normalised_set(phantom(np.random.default_rng([77, k]), (24, 32, 32))) for k in range(3)]
    network, learner = PublishedNet(), Sliced()
    load_weights(network, read_weights(SHIPPED, SHIPPED_SHA256), str(SHIPPED))
    loss = mean_loss(learner, network, held_out, "cpu")
    assert loss < 0.8 * mean_loss(learner, untrained(FusionTraining(method="mdafuse_published")), held_out, "cpu")
    # The card says it: so few steps do not reach the plain average under this loss.
    assert loss < 1.2 * average_loss(learner, held_out)
