"""Which models go into MLflow's registry, under which name, aliases and tags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CURRENT, PRIMARY = "current", "primary"
KEY = "radfuse.model_key"
FACTS = ("arm", "auc", "ci_low", "ci_high", "n", "events", "fusion", "modalities", "classifier")


@dataclass(frozen=True)
class Registration:
    """A version of a model in the registry.

    Parameters
    ----------
    name : the study's and the arm's, joined: one series of versions for each.
    aliases : which point at this version from now on: ``current``, and ``primary`` for the arm that was declared.
    tags : of the version: its AUC with the interval, radfuse's version, and hashes of what it was made from.
    """

    name: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]

    @property
    def key(self) -> str:
        """What the model was made from, hashed: a version of the same key is the same model."""
        return self.tags[KEY]


def registration(
    which: str, study: str, arm: Mapping[str, Any], primary: str, key: str, tags: Mapping[str, str]
) -> Registration | None:
    """Say how an arm's model is registered; None for one that is not.

    Parameters
    ----------
    which : of `radfuse.config.Tracking.registry`.
    arm : its line of the AUC table.
    primary : the name of the arm that was declared before the run; empty where there is none.
    key : of the arm's record.
    tags : of the run.
    """
    name = str(arm["arm"])
    if which == "none" or (which == "primary" and name != primary):
        return None
    facts = {f"radfuse.{fact}": str(arm[fact]) for fact in FACTS if fact in arm}
    aliases = (CURRENT, PRIMARY) if name == primary else (CURRENT,)
    return Registration(registered_name(study, name), aliases, {**tags, **facts, KEY: key})


def registered_name(study: str, arm: str) -> str:
    """The name of an arm's series of versions."""
    # A slash and a colon have a meaning in MLflow's addresses, quotes in its searches.
    return re.sub(r"[/:'\"`]", "_", f"{study}-{arm}")
