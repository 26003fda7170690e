"""The card that goes with trained weights: what they learned from, how, and how well."""

import json

from radfuse.fuse.networks.recipe import FusionTraining
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
        "The loss is `0.3 sum(1 - SSIM) + 0.7 sum MSE` over two sources, of values normalised as in `radfuse fuse`.",
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


def _compared(ratio: float) -> str:
    return f"{abs(1 - ratio):.1%} {'lower' if ratio < 1 else 'higher'}"


def _stored(config: FusionTraining) -> str:
    if config.method == "mdafuse_published":
        return "kernels in float16, made float32 when they are loaded; the held-out loss is of the rounded weights"
    return "float32"
