"""Train a fusion network self-supervised: from co-registered volumes, without any label."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from radfuse.data.volume import Volume
from radfuse.errors import DataError, GeometryError
from radfuse.fuse import Array
from radfuse.fuse.networks.recipe import FusionTraining
from radfuse.fuse.normalisation import DEFAULTS, normalisation_for, normalise

if TYPE_CHECKING:
    from torch import Tensor, nn

    from radfuse.fuse.networks.crops import VolumeSet
    from radfuse.fuse.networks.learning import Learner

# Parts of the phantoms: they share no seed. Validation decides when to stop, and what is held out judges.
TRAINING, HELD_OUT, VALIDATION = 0, 1, 2
LEARNING_RATE_FLOOR = 0.02


@dataclass(frozen=True)
class Progress:
    """Where training stands after a step.

    Parameters
    ----------
    step : updates done, from 1.
    loss : of this step's crops before the update, scaled to two sources.
    validation : mean loss on the validation crops after this step; None where it was not looked at.
    best_step : after which it was lowest so far; 0 before the first look.
    checkpoint : gives everything that `train` needs to go on from here, as plain tensors and numbers.
    """

    step: int
    loss: float
    validation: float | None
    best_step: int
    checkpoint: Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Learned:
    """What the steps of training leave.

    Parameters
    ----------
    state : the network's numbers after the step that was best in validation.
    history : loss of every step, scaled to two sources; what the crops show makes it uneven.
    validation : loss on the validation crops, by step.
    best_step : the step that `state` is of.
    """

    state: Mapping[str, Tensor]
    history: tuple[float, ...]
    validation: Mapping[int, float]
    best_step: int


@dataclass(frozen=True)
class Trained:
    """What training leaves, judged.

    Parameters
    ----------
    weights : safetensors bytes.
    sha256 : of those bytes.
    history, validation, best_step : as in `Learned`.
    losses : mean loss on the held-out volumes of the trained network (with its weights as stored), of the untrained
        one and of the plain average.
    """

    weights: bytes
    sha256: str
    history: tuple[float, ...]
    validation: Mapping[int, float]
    best_step: int
    losses: Mapping[str, float]


def phantom_sets(config: FusionTraining, part: int) -> list[VolumeSet]:
    """Make the phantoms to learn from (`TRAINING`), to stop by (`VALIDATION`) or to judge by (`HELD_OUT`)."""
    from radfuse.fuse.phantoms import phantom

    counts = {
        TRAINING: config.phantoms,
        VALIDATION: config.validation_phantoms,
        HELD_OUT: config.held_out_phantoms,
    }
    return [
        normalised_set(phantom(np.random.default_rng([config.seed, part, k])), config.normalisation)
        for k in range(counts[part])
    ]


def normalised_set(volumes: Mapping[str, Volume], normalisation: Mapping[str, Any] = DEFAULTS) -> VolumeSet:
    """Normalise the modalities of one patient as the fuse stage does.

    Raises a GeometryError where voxels of the same place in two arrays are not of the same place in the patient.
    """
    if len(volumes) < 2:
        raise DataError(f"training needs two or more modalities, found {', '.join(volumes) or 'none'}")
    (first, one), *others = volumes.items()
    apart = {name: one.geometry.differences(other.geometry) for name, other in others}
    if any(apart.values()):
        spelt = "; ".join(f"{first} against {name}: {told}" for name, told in apart.items() if told)
        raise GeometryError(
            f"training needs two or more modalities on one grid, found {spelt}",
            hint="Run `radfuse align` and train on its volumes.",
        )
    chosen = {**DEFAULTS, **normalisation}
    return {name: normalise(volume, normalisation_for(name, chosen))[0] for name, volume in volumes.items()}


def run_training(
    config: FusionTraining,
    sets: Sequence[VolumeSet],
    validation: Sequence[VolumeSet],
    held_out: Sequence[VolumeSet],
    device: str,
    on_step: Callable[[Progress], None] = lambda progress: None,
    resume: Mapping[str, Any] | None = None,
    images: Sequence[str] = (),
) -> Trained:
    """Train, and judge on volumes that training never saw.

    Parameters
    ----------
    config : the recipe.
    sets : what to learn from; `phantom_sets` or `normalised_set` of each patient.
    validation : what decides when to stop.
    held_out : what to judge by.
    device : ``cpu`` or ``cuda``.
    on_step : called after every update.
    resume : a checkpoint of an earlier call with the same recipe; the result is then the same as without the stop.
    images : SHA-256 of the image files behind ``sets`` and ``validation``, and of the scans behind those, to be
        declared in the weights.
    """
    import hashlib

    from radfuse.fuse.networks.weights import load_weights, save_weights

    learned = train(config, sets, validation, device, on_step, resume)
    weights = save_weights(dict(learned.state), halved=config.method == "mdafuse_published", images=images)
    learner = learner_of(config)
    network = untrained(config)
    losses = {
        "average": average_loss(learner, held_out),
        "untrained": mean_loss(learner, network, held_out, device),
    }
    load_weights(network, weights, "just trained")
    losses["trained"] = mean_loss(learner, network, held_out, device)
    sha256 = hashlib.sha256(weights).hexdigest()
    return Trained(weights, sha256, learned.history, learned.validation, learned.best_step, losses)


def train(
    config: FusionTraining,
    sets: Sequence[VolumeSet],
    validation: Sequence[VolumeSet],
    device: str,
    on_step: Callable[[Progress], None] = lambda progress: None,
    resume: Mapping[str, Any] | None = None,
) -> Learned:
    """Learn the weights; keeps those of the step with the lowest loss in validation."""
    import torch

    learner = learner_of(config)
    network = untrained(config).to(device).train()
    optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    history: list[float] = []
    seen: dict[int, float] = {}
    best: dict[str, Any] = {}
    if resume is not None:
        network.load_state_dict(resume["network"])
        optimiser.load_state_dict(resume["optimiser"])
        history, seen, best = list(resume["history"]), dict(resume["validation"]), dict(resume["best"])

    def best_step() -> int:
        return min(seen, key=lambda step: (seen[step], step), default=0)

    def checkpoint() -> dict[str, Any]:
        return {
            "network": _copied(network),
            "optimiser": deepcopy(optimiser.state_dict()),
            "history": list(history),
            "validation": dict(seen),
            "best": dict(best),
        }

    with _threads(config.threads):
        crops = list(_validation_crops(config, learner, validation))
        while len(history) < config.steps and not _stalled(config, seen):
            step = len(history)
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * _cosine(step / config.steps)
            # Each step has a seed of its own, so that a resumed run draws what an uninterrupted one would.
            rng = np.random.default_rng([config.seed, step])
            given = _drawn(rng, config, learner, sets, device)
            with _seeded(int(rng.integers(2**31)), device):
                loss = _loss(config, learner, network, given, device)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            history.append(loss.item() * 2 / len(given))
            looked = len(history) % config.validate_every == 0 or len(history) == config.steps
            if looked:
                seen[len(history)] = _validated(config, learner, network, crops, device)
                if best_step() == len(history):
                    best = _copied(network)
            on_step(Progress(len(history), history[-1], seen.get(len(history)), best_step(), checkpoint))
    state = {name: value.cpu() for name, value in best.items()}
    return Learned(state, tuple(history), seen, best_step())


def learner_of(config: FusionTraining) -> Learner:
    """What training needs to know of the recipe's network."""
    from radfuse.fuse.networks.learning import learner_for

    return learner_for(config.method, config.affine, config.combine)


def untrained(config: FusionTraining) -> nn.Module:
    """Make the network with the random weights of the recipe's seed; the global random state stays as it was."""
    with _seeded(config.seed, "cpu"):
        return learner_of(config).make()


def mean_loss(
    learner: Learner, network: nn.Module, sets: Sequence[VolumeSet], device: str, gradient_weight: float = 0.0
) -> float:
    """Mean of the loss over volumes and all pairs of their modalities."""
    network = network.to(device).eval()
    return _mean_loss(learner, sets, lambda pair: learner.judged(network, pair, device), gradient_weight)


def average_loss(learner: Learner, sets: Sequence[VolumeSet], gradient_weight: float = 0.0) -> float:
    """The same mean for the plain average, which no network is needed for."""
    return _mean_loss(learner, sets, lambda pair: np.mean(pair, axis=0, dtype=np.float32), gradient_weight)


def _mean_loss(
    learner: Learner, sets: Sequence[VolumeSet], fuse: Callable[[list[Array]], Array], gradient_weight: float
) -> float:
    from itertools import combinations

    from radfuse.fuse.networks.loss import fusion_loss

    losses = []
    for volumes in sets:
        for names in combinations(sorted(volumes), 2):
            pair = [np.ascontiguousarray(learner.shown(volumes[name])) for name in names]
            sources = [learner.batch(array) for array in pair]
            losses.append(float(fusion_loss(learner.batch(fuse(pair)), sources, gradient_weight)))
    return float(np.mean(losses))


def _drawn(
    rng: np.random.Generator, config: FusionTraining, learner: Learner, sets: Sequence[VolumeSet], device: str
) -> list[Tensor]:
    import torch

    from radfuse.fuse.networks.crops import draw

    crops = draw(rng, sets, config.batch, learner.shape(config.crop), learner.halo)
    return [torch.from_numpy(array).to(device) for array in crops]


def _loss(config: FusionTraining, learner: Learner, network: nn.Module, given: Sequence[Tensor], device: str) -> Tensor:
    import torch

    from radfuse.fuse.networks.loss import fusion_loss

    kind = torch.device(device).type
    with torch.autocast(kind, torch.bfloat16, enabled=config.precision == "bfloat16"):
        fused, sources = learner.fuse(network, given)
    return fusion_loss(fused.float(), sources, config.gradient_weight)


def _validation_crops(config: FusionTraining, learner: Learner, sets: Sequence[VolumeSet]) -> Iterator[list[Tensor]]:
    # The same crops at every look, so that only the weights make the difference.
    for k in range(-(-config.validation_crops // config.batch)):
        yield _drawn(np.random.default_rng([config.seed, VALIDATION, k]), config, learner, sets, "cpu")


def _validated(
    config: FusionTraining, learner: Learner, network: nn.Module, crops: Sequence[Sequence[Tensor]], device: str
) -> float:
    import torch

    network.eval()
    with torch.no_grad():
        losses = [
            _loss(config, learner, network, [crop.to(device) for crop in given], device).item() * 2 / len(given)
            for given in crops
        ]
    network.train()
    return float(np.mean(losses))


def _stalled(config: FusionTraining, seen: Mapping[int, float]) -> bool:
    """Whether the last `patience` looks were all worse than the best before them."""
    steps = sorted(seen)
    best = min(steps, key=lambda step: (seen[step], step), default=0)
    return config.patience > 0 and len([step for step in steps if step > best]) >= config.patience


def _copied(network: nn.Module) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _cosine(done: float) -> float:
    return float(LEARNING_RATE_FLOOR + (1 - LEARNING_RATE_FLOOR) * 0.5 * (1 + np.cos(np.pi * done)))


@contextmanager
def _seeded(seed: int, device: str) -> Iterator[None]:
    """Draw torch's random numbers (first weights, dropout) from a seed; the global state stays as it was."""
    import torch

    gpus = [] if torch.device(device).type == "cpu" else [torch.cuda.current_device()]
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(seed)
        yield


@contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
