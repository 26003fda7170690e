"""Train a fusion network self-supervised: from co-registered volumes, without any label."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from radfuse.component import Frozen
from radfuse.data.volume import Volume
from radfuse.errors import DataError
from radfuse.fuse import Array
from radfuse.fuse.normalisation import DEFAULTS, Normalisation, normalisation_for, normalise

if TYPE_CHECKING:
    from radfuse.fuse.networks.mdafuse import MdAFuseNet

# The modalities of one patient or phantom, normalised, on one grid.
VolumeSet = Mapping[str, Array]
TRAINING, HELD_OUT = 0, 1
LEARNING_RATE_FLOOR = 0.02


class FusionTraining(Frozen):
    """How the weights of a fusion network are learned; a YAML of `radfuse fusion train`."""

    method: Literal["mdafuse"] = Field("mdafuse", description="Network to train.")
    volumes: tuple[dict[str, Path], ...] = Field(
        (), description="Co-registered images on one grid, a mapping from modality to file each; empty: phantoms."
    )
    held_out: tuple[dict[str, Path], ...] = Field((), description="Images of other patients, to judge by.")
    phantoms: PositiveInt = Field(24, description="How many phantoms to learn from when no volumes are given.")
    held_out_phantoms: PositiveInt = Field(6, description="How many other phantoms to judge by.")
    normalisation: dict[str, Normalisation] = Field(DEFAULTS, description="As in the fuse stage.")
    steps: PositiveInt = Field(240, description="Updates of the weights.")
    batch: PositiveInt = Field(2, description="Crops in each update.")
    crop: PositiveInt = Field(24, description="Side of what is judged of a crop, voxels; the network sees 18 more.")
    learning_rate: PositiveFloat = Field(3e-3, description="Of AdamW at its peak; follows a cosine down.")
    weight_decay: NonNegativeFloat = Field(1e-4, description="Of AdamW.")
    gradient_weight: NonNegativeFloat = Field(0.0, description="Weight of the edge term; 0 is the paper's loss.")
    seed: NonNegativeInt = Field(0, description="Decides the first weights, the phantoms and the crops.")
    threads: PositiveInt = Field(1, description="CPU threads; rounding depends on them, so the recipe names them.")


@dataclass(frozen=True)
class Progress:
    """Where training stands after a step.

    Parameters
    ----------
    step : updates done, from 1.
    loss : of this step's crops before the update, scaled to two sources.
    checkpoint : gives everything that `train` needs to go on from here, as plain tensors and numbers.
    """

    step: int
    loss: float
    checkpoint: Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Trained:
    """What training leaves.

    Parameters
    ----------
    weights : safetensors bytes.
    sha256 : of those bytes.
    history : loss of every step, scaled to two sources; what the crops show makes it uneven.
    losses : mean loss on the held-out volumes of the trained network, of the untrained one and of the plain average.
    """

    weights: bytes
    sha256: str
    history: tuple[float, ...]
    losses: Mapping[str, float]


def phantom_sets(config: FusionTraining, part: int) -> list[VolumeSet]:
    """Make the phantoms to learn from (`TRAINING`) or to judge by (`HELD_OUT`); the two never share a seed."""
    from radfuse.fuse.phantoms import phantom

    count = config.phantoms if part == TRAINING else config.held_out_phantoms
    return [
        normalised_set(phantom(np.random.default_rng([config.seed, part, k])), config.normalisation)
        for k in range(count)
    ]


def normalised_set(volumes: Mapping[str, Volume], normalisation: Mapping[str, Any] = DEFAULTS) -> VolumeSet:
    """Normalise the modalities of one patient as the fuse stage does."""
    if len({volume.array.shape for volume in volumes.values()}) != 1 or len(volumes) < 2:
        shapes = {name: volume.array.shape for name, volume in volumes.items()}
        raise DataError(
            f"training needs two or more modalities on one grid, found {shapes}",
            hint="Run `radfuse align` and train on its volumes.",
        )
    chosen = {**DEFAULTS, **normalisation}
    return {name: normalise(volume, normalisation_for(name, chosen))[0] for name, volume in volumes.items()}


def run_training(
    config: FusionTraining,
    sets: Sequence[VolumeSet],
    held_out: Sequence[VolumeSet],
    device: str,
    on_step: Callable[[Progress], None] = lambda progress: None,
    resume: Mapping[str, Any] | None = None,
) -> Trained:
    """Train, and judge on volumes that training never saw.

    Parameters
    ----------
    config : the recipe.
    sets : what to learn from; `phantom_sets` or `normalised_set` of each patient.
    held_out : what to judge by.
    device : ``cpu`` or ``cuda``.
    on_step : called after every update.
    resume : a checkpoint of an earlier call with the same recipe; the result is then the same as without the stop.
    """
    import hashlib

    from radfuse.fuse.networks.weights import save_weights

    state, history = train(config, sets, device, on_step, resume)
    network = untrained(config.seed)
    losses = {"average": average_loss(held_out), "untrained": mean_loss(network, held_out, device)}
    network.load_state_dict(state)
    losses["trained"] = mean_loss(network, held_out, device)
    weights = save_weights(state)
    return Trained(weights, hashlib.sha256(weights).hexdigest(), tuple(history), losses)


def train(
    config: FusionTraining,
    sets: Sequence[VolumeSet],
    device: str,
    on_step: Callable[[Progress], None] = lambda progress: None,
    resume: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], list[float]]:
    """Learn the weights; gives the state dict and the loss of every step, scaled to two sources."""
    import torch

    from radfuse.fuse.networks.loss import fusion_loss
    from radfuse.fuse.networks.mdafuse import HALO, inner

    network = untrained(config.seed).to(device).train()
    optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    history: list[float] = []
    if resume is not None:
        network.load_state_dict(resume["network"])
        optimiser.load_state_dict(resume["optimiser"])
        history = list(resume["history"])
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        for step in range(len(history), config.steps):
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * _cosine(step / config.steps)
            # Each step has a seed of its own, so that a resumed run draws what an uninterrupted one would.
            rng = np.random.default_rng([config.seed, step])
            given = [torch.from_numpy(array).to(device) for array in draw(rng, sets, config.batch, config.crop, HALO)]
            loss = fusion_loss(network(given), [inner(source, HALO) for source in given], config.gradient_weight)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            history.append(loss.item() * 2 / len(given))

            def checkpoint() -> dict[str, Any]:
                return {
                    "network": {name: value.clone() for name, value in network.state_dict().items()},
                    "optimiser": deepcopy(optimiser.state_dict()),
                    "history": list(history),
                }

            on_step(Progress(step + 1, history[-1], checkpoint))
    finally:
        torch.set_num_threads(threads)
    return {name: value.detach().cpu() for name, value in network.state_dict().items()}, history


def draw(
    rng: np.random.Generator, sets: Sequence[VolumeSet], batch: int, crop: int, halo: int
) -> list[np.ndarray[Any, Any]]:
    """Draw crops of two or three modalities, flipped by chance, each (batch, 1, z, y, x) and padded by ``halo``."""
    available = sorted(set.intersection(*(set(volumes) for volumes in sets)))
    if len(available) < 2:
        raise DataError("the volumes to train on have fewer than two modalities in common")
    count = int(rng.integers(2, min(3, len(available)) + 1))
    names = rng.permutation(available)[:count]
    crops: list[list[Array]] = []
    for _ in range(batch):
        volumes = sets[int(rng.integers(len(sets)))]
        shape = volumes[names[0]].shape
        corner = [int(rng.integers(max(1, length - crop + 1))) for length in shape]
        box = tuple(slice(start, start + crop + 2 * halo) for start in corner)
        flips = tuple(axis for axis in range(3) if rng.random() < 0.5)
        crops.append([np.flip(_padded(volumes[name], crop, halo)[box], flips) for name in names])
    return [np.stack([found[k] for found in crops])[:, np.newaxis].astype(np.float32) for k in range(count)]


def mean_loss(network: MdAFuseNet, sets: Sequence[VolumeSet], device: str, gradient_weight: float = 0.0) -> float:
    """Mean of the loss over whole volumes and all pairs of their modalities."""
    from radfuse.fuse.networks.inference import fuse_tiled
    from radfuse.fuse.networks.mdafuse import HALO

    network = network.to(device).eval()
    return _mean_loss(sets, lambda pair: fuse_tiled(network, pair, HALO, 48, device, "float32"), gradient_weight)


def average_loss(sets: Sequence[VolumeSet], gradient_weight: float = 0.0) -> float:
    """The same mean for the plain average, which no network is needed for."""
    return _mean_loss(sets, lambda pair: np.mean(pair, axis=0, dtype=np.float32), gradient_weight)


def untrained(seed: int) -> MdAFuseNet:
    """Make the network with random weights; the global random state stays as it was."""
    import torch

    from radfuse.fuse.networks.mdafuse import MdAFuseNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MdAFuseNet()


def _mean_loss(sets: Sequence[VolumeSet], fuse: Callable[[list[Array]], Array], gradient_weight: float) -> float:
    from itertools import combinations

    import torch

    from radfuse.fuse.networks.loss import fusion_loss

    losses = []
    for volumes in sets:
        for names in combinations(sorted(volumes), 2):
            pair = [volumes[name] for name in names]
            sources = [torch.from_numpy(array)[None, None] for array in pair]
            fused = torch.from_numpy(fuse(pair))[None, None]
            losses.append(float(fusion_loss(fused, sources, gradient_weight)))
    return float(np.mean(losses))


def _cosine(done: float) -> float:
    return float(LEARNING_RATE_FLOOR + (1 - LEARNING_RATE_FLOOR) * 0.5 * (1 + np.cos(np.pi * done)))


def _padded(array: Array, crop: int, halo: int) -> Array:
    after = [halo + max(0, crop - length) for length in array.shape]
    return np.pad(array, [(halo, more) for more in after], mode="edge")
