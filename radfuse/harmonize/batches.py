"""Batches: which rows are fitted together, and what happens to batches too small or never seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from radfuse.errors import DataError
from radfuse.harmonize.labels import texts

LARGEST = "largest"
PASSED = ""  # the batch name of a row that is left as it is


@dataclass(frozen=True)
class Policy:
    """What to do about batches; the fields are those of `radfuse.harmonize.combat.ComBat`."""

    merge: Mapping[str, str]
    single: str
    small: str
    small_below: int
    flag_below: int
    unseen: str
    mean_only: bool
    reference: str


def plan(labels: pd.Series, policy: Policy, modality: str) -> dict[str, Any]:
    """Decide, from the training rows alone, which batch each label belongs to and how that batch is fitted.

    Returns
    -------
    Plain data: ``target`` (by label: its batch, or empty when its rows are left as they are), ``fitted`` (rows per
    batch), ``location_only`` (batches whose scale is left alone), ``largest``, ``treatment`` (by label, in words),
    ``rows`` (by label) and ``flags`` (sentences).
    """
    given = [label for label in texts(labels) if label is not None]
    rows = {label: given.count(label) for label in sorted(set(given))}
    target = {label: policy.merge.get(label, label) for label in rows}
    largest = _largest(_sizes(target, rows, without=LARGEST)) or _largest(rows)
    target = {label: largest if batch == LARGEST else batch for label, batch in target.items()}
    flags: list[str] = []
    if len(given) < len(labels):
        flags.append(f"{len(labels) - len(given)} rows have no batch label and are left as they are")

    sizes = _sizes(target, rows)
    chosen = {
        batch: policy.single if size == 1 else policy.small if size < policy.small_below else "full"
        for batch, size in sizes.items()
    }
    for batch, choice in chosen.items():
        if choice == "refuse":
            raise DataError(
                f"{modality}: batch {batch!r} has {sizes[batch]} training rows; batches: {_listed(sizes)}",
                hint=f"Merge it (harmonizer.merge: {{{batch}: {largest}}}), or allow it with single or small.",
            )
        if choice == "pass" or (choice == LARGEST and batch == largest and sizes[batch] == 1):
            target = {label: PASSED if own == batch else own for label, own in target.items()}
            flags.append(f"batch {batch} has {sizes[batch]} training rows: its rows are left as they are")
        elif choice == LARGEST and batch != largest:
            target = {label: largest if own == batch else own for label, own in target.items()}
            flags.append(f"batch {batch} has {sizes[batch]} training rows: counted as {largest}")
    fitted = _sizes(target, rows)
    if policy.reference:
        _require_reference(policy.reference, fitted, modality)
    small = [batch for batch, size in fitted.items() if policy.mean_only or size < policy.small_below]
    for batch, size in fitted.items():
        if batch in small and not policy.mean_only:
            flags.append(f"batch {batch} has {size} training rows: its shift is removed, its scale is left alone")
        elif size < policy.flag_below:
            flags.append(f"batch {batch} has {size} training rows: its estimates are uncertain")
    if len(fitted) < 2:
        flags.append("fewer than two batches to fit: nothing to harmonise")
    return {
        "target": target,
        "fitted": fitted,
        "location_only": small,
        "largest": largest if largest in fitted else _largest(fitted),
        "rows": rows,
        "treatment": {label: _treatment(label, target[label], fitted, small, policy.reference) for label in rows},
        "flags": flags,
    }


def assign(labels: pd.Series, planned: Mapping[str, Any], policy: Policy, modality: str) -> npt.NDArray[Any]:
    """Give the batch of each row, or ``PASSED``; a label that training lacks follows the policy for unseen ones."""
    target, fitted = planned["target"], planned["fitted"]
    batch = np.full(len(labels), PASSED, dtype=object)
    unseen: list[str] = []
    for row, label in enumerate(texts(labels)):
        if label is None:
            continue
        merged = policy.merge.get(label, label)
        merged = planned["largest"] if merged == LARGEST else merged
        if label in target:
            batch[row] = target[label]
        elif merged in fitted:
            batch[row] = merged
        else:
            unseen.append(label)
            batch[row] = planned["largest"] if policy.unseen == LARGEST else PASSED
    if unseen and policy.unseen == "refuse":
        raise DataError(
            f"{modality}: {len(unseen)} rows of batch {', '.join(sorted(set(unseen)))}, which was not fitted; "
            f"fitted: {_listed(fitted)}",
            hint="Merge the label into a fitted one (harmonizer.merge), or set harmonizer.unseen: pass or largest.",
        )
    return batch


def _sizes(target: Mapping[str, str], rows: Mapping[str, int], without: str = PASSED) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for label, batch in target.items():
        if batch not in (PASSED, without):
            sizes[batch] = sizes.get(batch, 0) + rows[label]
    return dict(sorted(sizes.items()))


def _largest(sizes: Mapping[str, int]) -> str:
    return min(sizes, key=lambda batch: (-sizes[batch], batch), default=PASSED)


def _listed(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{batch} {size}" for batch, size in sizes.items()) or "none"


def _require_reference(reference: str, fitted: Mapping[str, int], modality: str) -> None:
    if fitted.get(reference, 0) < 2:
        raise DataError(
            f"{modality}: the reference batch {reference!r} has {fitted.get(reference, 0)} training rows that can be "
            f"fitted, expected at least 2; fitted: {_listed(fitted)}",
            hint="Name a batch that every training set holds in harmonizer.reference_batch.",
        )


def _treatment(label: str, batch: str, fitted: Mapping[str, int], small: list[str], reference: str) -> str:
    if batch == PASSED:
        return "left as it is"
    if len(fitted) < 2:
        return "the only batch"
    manner = "reference" if batch == reference else "shift only" if batch in small else "shift and scale"
    return manner if batch == label else f"counted as {batch}, {manner}"
