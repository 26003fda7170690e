"""The card that goes with trained weights: what they learned from, how, and how well."""

import json

from radfuse.fuse.training import FusionTraining, Trained


def card(config: FusionTraining, trained: Trained, *, data: str, licence: str, command: str, environment: str) -> str:
    """Write the card in Markdown.

    Parameters
    ----------
    config : the recipe; printed in full, so that the card alone repeats the training.
    trained : what came of it.
    data : what was learned from, in words, with its public source.
    licence : of the weights, and of the data where they are not made up.
    command : that makes these weights.
    environment : versions and machine, in words.
    """
    losses = trained.losses
    gain = 1 - losses["trained"] / losses["untrained"]
    lines = [
        f"# Weights of `{config.method}`",
        "",
        f"- Data: {data}",
        f"- Licence: {licence}",
        f"- Seed: {config.seed}",
        f"- Steps: {config.steps}, of {config.batch} crops each",
        f"- Held-out loss (volumes never trained on): {losses['untrained']:.4f} with random weights, "
        f"{losses['trained']:.4f} trained ({gain:.0%} lower); the plain average has {losses['average']:.4f}",
        f"- Command: `{command}`",
        f"- Made with: {environment}",
        f"- SHA-256: `{trained.sha256}`",
        f"- Size: {len(trained.weights)} bytes",
        "",
        "The loss is `0.3 sum(1 - SSIM) + 0.7 sum MSE` over the sources, of values normalised as in `radfuse fuse`.",
        "",
        "The recipe:",
        "",
        "```json",
        json.dumps(config.model_dump(mode="json"), indent=2),
        "```",
        "",
    ]
    return "\n".join(lines)
