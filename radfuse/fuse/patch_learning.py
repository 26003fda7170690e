"""What the patch methods know beforehand: learned from made-up bodies, judged on others, and told on a card."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from radfuse.component import Frozen
from radfuse.errors import ConfigError
from radfuse.fuse.dictionary_learning import (
    ORIENTATIONS,
    cosine_atoms,
    first_atoms,
    learn_dictionary,
    learn_projection,
    left_over,
)
from radfuse.fuse.normalisation import DEFAULTS, normalisation_for, normalise

# Patches flatter than this, on the normalised scale, are air or noise and teach nothing.
FLAT = 0.02
LEARNING, JUDGING = 0, 1
JUDGED_PATCHES = 2048


class PatchLearning(Frozen):
    """What to learn from patches of phantoms, and how."""

    what: Literal["dictionary", "projection"] = Field("dictionary", description="For `sparse` or for `mdlatlrr`.")
    side: PositiveInt = Field(8, description="Voxels along a patch.")
    phantoms: PositiveInt = Field(24, description="How many to learn from.")
    held_out_phantoms: PositiveInt = Field(6, description="How many others to judge by.")
    patches: PositiveInt = Field(6144, description="To learn from; each is turned and mirrored into eight.")
    atoms: PositiveInt = Field(256, multiple_of=ORIENTATIONS, description="Of the dictionary.")
    terms: PositiveInt = Field(5, description="Atoms that make a patch while the dictionary is learned and judged.")
    rounds: PositiveInt = Field(15, description="Of coding all patches and fitting all atoms.")
    sparse_weight: PositiveFloat = Field(0.1, description="Cost of noise while the projection is learned.")
    seed: NonNegativeInt = Field(0, description="Decides the phantoms and the patches.")


# The shipped ones. The projection takes a matrix as wide as its patches apart, so it can learn from a few hundred.
RECIPES = {"dictionary": PatchLearning(), "projection": PatchLearning(what="projection", patches=60)}


@dataclass(frozen=True)
class Learned:
    """What was learned.

    Parameters
    ----------
    content : safetensors bytes; one matrix, float32, under the name of `PatchLearning.what`.
    judged : on phantoms never learned from, in sentences.
    """

    content: bytes
    judged: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Of the content."""
        return hashlib.sha256(self.content).hexdigest()


def learn(config: PatchLearning) -> Learned:
    """Learn from phantoms, and judge on others."""
    import torch
    from safetensors.torch import save

    given = torch.from_numpy(phantom_patches(config, LEARNING, config.phantoms, config.patches))
    held_out = torch.from_numpy(phantom_patches(config, JUDGING, config.held_out_phantoms, JUDGED_PATCHES))
    if config.what == "dictionary":
        if len(given) * ORIENTATIONS < config.atoms:
            raise ConfigError(
                f"{len(given)} patches cannot start {config.atoms} atoms", hint="Raise `patches` or `phantoms`."
            )
        matrix = learn_dictionary(given, config.atoms, config.terms, config.rounds, config.seed)
        rivals = {
            "learned": matrix,
            "as many products of cosines": cosine_atoms(config.side, config.atoms),
            "the patches that learning began with": first_atoms(given, config.atoms, config.seed),
        }
        judged = [
            f"{left_over(held_out, atoms, config.terms):.3f} of a patch's norm is left by the best {config.terms} "
            f"atoms: {name}"
            for name, atoms in rivals.items()
        ]
    else:
        matrix = learn_projection(given, config.sparse_weight)
        details = held_out @ matrix.T
        rest = held_out - details
        judged = [
            f"{float(details.norm() / held_out.norm()):.3f} of the patches' norm is detail, "
            f"{float(rest.norm() / held_out.norm()):.3f} is left to the base",
        ]
    return Learned(save({config.what: matrix.to(torch.float32).contiguous()}), tuple(judged))


def phantom_patches(config: PatchLearning, part: int, phantoms: int, count: int) -> npt.NDArray[np.float64]:
    """Draw patches (patch, voxel) without their mean from axial slices of phantoms, as many from each modality."""
    from radfuse.fuse.phantoms import phantom

    found: list[npt.NDArray[Any]] = []
    for k in range(phantoms):
        rng = np.random.default_rng([config.seed, part, k])
        for name, volume in phantom(rng).items():
            array, _ = normalise(volume, normalisation_for(name, DEFAULTS))
            windows = np.lib.stride_tricks.sliding_window_view(array, (1, config.side, config.side))
            wanted = count * (len(found) + 1) // (3 * phantoms) - count * len(found) // (3 * phantoms)
            places = [rng.integers(0, length, 8 * wanted) for length in windows.shape[:3]]
            drawn = windows[tuple(places)].reshape(8 * wanted, config.side**2).astype(np.float64)
            drawn -= drawn.mean(axis=1, keepdims=True)
            uneven = drawn[drawn.std(axis=1) > FLAT]
            found.append(uneven[:wanted])
    patches = np.concatenate(found)
    return patches


def card(config: PatchLearning, learned: Learned, *, command: str, environment: str) -> str:
    """Write the card in Markdown.

    Parameters
    ----------
    config : the recipe; printed in full, so that the card alone repeats the learning.
    command : that makes these weights.
    environment : versions and machine, in words.
    """
    method = {"dictionary": "sparse", "projection": "mdlatlrr"}[config.what]
    lines = [
        f"# The {config.what} of `{method}`",
        "",
        f"- Data: patches of {config.side} x {config.side} voxels, without their means, from axial slices of "
        f"{config.phantoms} phantoms made by `radfuse/fuse/phantoms.py` (CT, PET and MR of made-up bodies); no image "
        "of any patient",
        f"- Judged on {config.held_out_phantoms} other phantoms:",
        *(f"    - {sentence}" for sentence in learned.judged),
        "- Licence: Apache-2.0, as radfuse; the phantoms are radfuse's own",
        f"- Seed: {config.seed}",
        f"- Command: `{command}`",
        f"- Made with: {environment}",
        f"- SHA-256: `{learned.sha256}`",
        f"- Size: {len(learned.content)} bytes, float32",
        "",
        "The recipe:",
        "",
        "```json",
        json.dumps(config.model_dump(mode="json"), indent=2),
        "```",
        "",
    ]
    return "\n".join(lines)
