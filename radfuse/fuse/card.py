"""The card that goes with trained weights: what they learned from, how, and how well."""

import json

from radfuse.fuse.networks.recipe import FusionTraining
from radfuse.fuse.normalisation import DEFAULTS
from radfuse.fuse.training import Trained


def card(
    config: FusionTraining,
    trained: Trained,
    *,
    data: str,
    judged: str,
    licence: str,
    command: str,
    environment: str,
    remarks: str = "",
) -> str:
    """Write the card in Markdown.

    Parameters
    ----------
    config : the recipe; printed in full, so that the card alone repeats the training.
    trained : what came of it.
    data : what was learned from, in words, with its public source.
    judged : what the held-out loss is of, in words.
    licence : of the weights, and of the data where they are not made up.
    command : that makes these weights.
    environment : versions and machine, in words.
    remarks : further paragraphs.
    """
    losses = trained.losses
    better = {name: _compared(losses["trained"] / losses[name]) for name in ("untrained", "average")}
    last = max(trained.validation)
    stopped = "all of them" if len(trained.history) >= config.steps else f"stopped after {len(trained.history)}"
    lines = [
        f"# Weights of `{config.method}`",
        "",
        f"- Data: {data}",
        f"- Licence: {licence}",
        f"- Seed: {config.seed}",
        f"- Steps: at most {config.steps}, of {config.batch} crops each; {stopped}",
        f"- Kept: step {trained.best_step}, with the lowest loss in validation "
        f"({trained.validation[trained.best_step]:.4f}; {trained.validation[last]:.4f} at step {last})",
        f"- Judged on: {judged}",
        f"- Held-out loss: {losses['trained']:.4f}; {losses['untrained']:.4f} with random weights "
        f"({better['untrained']}), {losses['average']:.4f} of the plain average ({better['average']})",
        f"- Command: `{command}`",
        f"- Made with: {environment}",
        f"- SHA-256: `{trained.sha256}`",
        f"- Size: {len(trained.weights)} bytes; {_stored(config)}",
        "",
        stated_loss(config),
        *(["", remarks] if remarks else []),
        "",
        "The recipe:",
        "",
        "```json",
        json.dumps(config.model_dump(mode="json"), indent=2),
        "```",
        "",
    ]
    return "\n".join(lines)


def stated_loss(config: FusionTraining) -> str:
    """Say what is made small in training and what the held-out loss is of, and where that is not the paper's."""
    from radfuse.fuse.networks.loss import INTENSITY, SSIM_SIDE, STRUCTURE

    edges = f" + {config.gradient_weight:g} E" if config.gradient_weight else ""
    usual = {**DEFAULTS, **config.normalisation} == DEFAULTS
    values = "as `radfuse fuse` does by default" if usual else "as the recipe says"
    window = " x ".join([str(SSIM_SIDE)] * (2 if config.method == "mdafuse_published" else 3))
    cut = f" (cut to {config.crop} in the crops of training)" if config.crop < SSIM_SIDE else ""
    lines = [
        f"The loss is `{STRUCTURE} sum(1 - SSIM) + {INTENSITY} sum MSE{edges}` over two sources, of values normalised "
        f"{values}. SSIM is that of a uniform window of {window} voxels{cut}, with the variances of a population; the "
        "paper's (pytorch-msssim) is of a Gaussian window of 11 x 11 pixels."
    ]
    if edges:
        lines.append(
            "`E` is not the paper's: along each axis the mean distance of the fused step from the sources' larger one, "
            "summed over the axes. It counts in training and in validation; the held-out loss is without it, to be "
            "compared with that of other weights."
        )
    return " ".join(lines)


def _compared(ratio: float) -> str:
    return f"{abs(1 - ratio):.1%} {'lower' if ratio < 1 else 'higher'}"


def _stored(config: FusionTraining) -> str:
    if config.method == "mdafuse_published":
        return "kernels in float16, made float32 when they are loaded; the held-out loss is of the rounded weights"
    return "float32"
