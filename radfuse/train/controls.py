"""Negative controls: take away what a modality, or the outcome, could tell, and see that the gain goes with it.

A control is another table. Features, folds and models are dealt with as before; only the link that a claim rests on is
broken. Shuffled rows and noise keep each column's mean and spread, which say nothing of the outcome; so they may be
taken over all rows without a leak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from zlib import crc32

import numpy as np
import pandas as pd

from radfuse.data.names import fused_modalities
from radfuse.data.table import BATCH, FeatureTable
from radfuse.errors import ConfigError
from radfuse.train.arms import Arm
from radfuse.train.clinical import CLINICAL
from radfuse.train.permutation import chance_p, exchanged, max_adjusted_p, permuted, units

VERSION = 1
SHUFFLE, NOISE, PERMUTE = "shuffle", "noise", "permute-outcome"
WITHOUT = "without"
CONTROLS, PERMUTED = "controls", "permuted"
FALSE = "{} (false)"
NOT_CONTROLLED = ("image", "baseline")
KNOWN = f"{SHUFFLE}:MODALITY, {NOISE}:MODALITY or {PERMUTE}"


@dataclass(frozen=True)
class Control:
    """One negative control.

    Parameters
    ----------
    kind : ``shuffle`` or ``noise`` of a modality, or ``permute-outcome``; ``without`` changes no row, and is there for
        the arms of `without`.
    modality : the measured modality, or ``clinical``; empty for ``permute-outcome``.
    facts : the subjects' columns that ``clinical`` is made of.
    """

    kind: str
    modality: str = ""
    facts: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str, table: FeatureTable, facts: Sequence[str] = ()) -> Control:
        """Read ``shuffle:PET``; a modality that the study does not have is refused.

        Parameters
        ----------
        facts : of ``train.clinical_modality``.
        """
        kind, colon, modality = text.partition(":")
        if kind not in (SHUFFLE, NOISE, PERMUTE):
            close = get_close_matches(kind, [SHUFFLE, NOISE, PERMUTE], n=1)
            raise ConfigError(
                f"--control {text}: no such control" + (f"; did you mean {close[0]!r}?" if close else ""),
                hint=f"Known: {KNOWN}.",
            )
        if kind == PERMUTE:
            if colon:
                raise ConfigError(f"--control {text}: {PERMUTE} takes no modality", hint=f"Write {PERMUTE}.")
        elif modality not in (known := [*table.single, *([CLINICAL] if facts else [])]):
            raise ConfigError(
                f"--control {text}: expected a modality of this study, one of {', '.join(known)}",
                hint="Fused images made from it go with it.",
            )
        return cls(kind, modality, tuple(facts) if modality == CLINICAL else ())

    @property
    def title(self) -> str:
        """The control as it is typed."""
        return f"{self.kind}:{self.modality}" if self.modality else self.kind

    def __call__(self, table: FeatureTable, seed: int, draw: int, strata: pd.Series | None = None) -> FeatureTable:
        """Make the table of one draw, counted from 1; the same seed and draw give the same table.

        Parameters
        ----------
        strata : labels that rows and outcomes stay within, one per subject, such as sites.
        """
        if self.kind == PERMUTE:
            return permuted(table, seed, draw, strata)
        if self.facts:
            return misled(table, self.facts, self.kind, seed, draw, strata)
        if self.kind == SHUFFLE:
            return shuffled(table, self.modality, seed, draw, strata)
        return noised(table, self.modality, seed, draw) if self.kind == NOISE else table

    def seen_by(self, arm: Arm) -> Arm:
        """Give the arm as it looks at the table of a draw: at the false facts, where those are what is controlled."""
        return replace(arm, clinical=tuple(FALSE.format(name) for name in arm.clinical)) if self.facts else arm

    def touched(self, table: FeatureTable) -> list[str]:
        """The modalities whose rows it changes: its own and every fused image made from it."""
        if self.kind == PERMUTE:
            return table.modalities
        if self.modality == CLINICAL and CLINICAL not in table.modalities:
            return [CLINICAL]
        fused = [(name, fused_modalities(name, table.single)) for name in table.fused]
        # An image whose parts the name does not tell may hold it too.
        return [self.modality, *(name for name, parts in fused if self.modality in parts or not parts)]


def without(arm: Arm, modality: str, table: FeatureTable) -> Arm | None:
    """Give the same arm on the modalities that a control leaves alone: what a modality adds to several others.

    None where fewer than two are left, so that a single arm is the bar, or where the arm's rules need them all.
    """
    touched = Control(SHUFFLE, modality).touched(table)
    rest = tuple(name for name in arm.modalities if name not in touched)
    if not arm.joins or arm.strategy is None or len(rest) < 2 or rest == arm.modalities:
        return None
    try:
        arm.strategy.check(rest)
    except ConfigError:
        return None
    clinical = arm.clinical if CLINICAL in rest else ()
    return replace(arm, name=f"{arm.name}-without-{modality}", modalities=rest, clinical=clinical)


def shuffled(table: FeatureTable, modality: str, seed: int, draw: int, strata: pd.Series | None = None) -> FeatureTable:
    """Deal the rows of a modality, and of the fused images made from it, anew among the subjects.

    Whole rows move, with all regions and with their batch labels, so that every marginal distribution stays and
    harmonising works on the same rows by batch as before. Who lacks the modality goes on lacking it. Where groups hold
    several subjects, the rows of whole groups change places.
    """
    moved = Control(SHUFFLE, modality).touched(table)
    fixed = [table.values[table.columns_of(name)].isna().all(axis=1).to_numpy().astype(int) for name in moved]
    order = exchanged(_alike(table, fixed, strata), np.random.default_rng([seed, draw, crc32(modality.encode())]))
    values, columns = table.values.copy(), table.columns_of(*moved)
    values[columns] = values[columns].to_numpy()[order]
    batches = {f"{BATCH}{name}": batch for name in moved if (batch := table.batch_of(name)) is not None}
    labels = {name: batch.to_numpy()[order] for name, batch in batches.items()}
    return FeatureTable(values, table.subjects.assign(**labels))


def noised(table: FeatureTable, modality: str, seed: int, draw: int) -> FeatureTable:
    """Put Gaussian noise of each column's mean and SD in place of a modality and the fused images made from it.

    What is missing stays missing, and batch labels stay with their subject: noise has no batch.
    """
    values = table.values.copy()
    for name in Control(NOISE, modality).touched(table):
        columns = table.columns_of(name)
        block = values[columns]
        rng = np.random.default_rng([seed, draw, crc32(name.encode())])  # whatever the order of the modalities
        noise = block.mean().to_numpy() + block.std().fillna(0.0).to_numpy() * rng.normal(size=block.shape)
        values[columns] = np.where(block.isna(), np.nan, noise)
    return table.with_values(values)


def misled(
    table: FeatureTable, facts: Sequence[str], kind: str, seed: int, draw: int, strata: pd.Series | None = None
) -> FeatureTable:
    """Put false facts beside the true ones, under names of their own: a harmoniser goes on protecting the true ones.

    Shuffled: what is known of one subject is said of another, all facts together; who has none goes on having none.
    Noise: numbers are Gaussian with the fact's mean and SD, the rest is drawn from the fact's own values; what is
    missing stays missing.
    """
    own = table.subjects[list(facts)]
    rng = np.random.default_rng([seed, draw, crc32(CLINICAL.encode())])
    if kind == SHUFFLE:
        fixed = [own.isna().all(axis=1).to_numpy().astype(int)]
        order = exchanged(_alike(table, fixed, strata), rng)
        false = {name: own[name].array[order] for name in facts}
    else:
        false = {name: _noise_like(own[name], rng) for name in facts}
    made = {FALSE.format(name): pd.Series(values, own.index) for name, values in false.items()}
    return FeatureTable(table.values, table.subjects.assign(**made))


def _noise_like(fact: pd.Series, rng: np.random.Generator) -> pd.Series:
    known = fact.dropna()
    numbers = pd.api.types.is_numeric_dtype(fact) and not pd.api.types.is_bool_dtype(fact)
    if known.empty:
        return fact
    if numbers:
        deviation = float(known.std()) if len(known) > 1 else 0.0
        drawn = pd.Series(float(known.mean()) + deviation * rng.normal(size=len(fact)), fact.index)
    else:
        drawn = pd.Series(known.array[rng.integers(len(known), size=len(fact))], fact.index)
    return drawn.where(fact.notna())


def _alike(table: FeatureTable, fixed: Sequence[np.ndarray], strata: pd.Series | None) -> list[list[np.ndarray]]:
    """Who may change places with whom: rows that show the same of what is fixed, within a stratum, groups whole."""
    within = [] if strata is None else [pd.factorize(strata, sort=True)[0].astype(int)]
    kinds = np.unique(np.column_stack([*fixed, *within]), axis=0, return_inverse=True)[1].ravel()
    return units(table.group, kinds)


def control_table(draws: pd.DataFrame, auc: pd.DataFrame, declared: str, classifier: str) -> pd.DataFrame:
    """Set each arm's AUC and gain with the true data beside those under a modality's control.

    Parameters
    ----------
    draws : columns control, arm, draw, auc; controls of a modality, and ``without:<modality>``, the AUC of the same arm
        without it, which is the bar where it is known.
    auc : of the true data, one row per arm, as `Train.score` gives it.
    declared : the modality that fusion must beat; where that is the one controlled, the best other one takes its place.
    classifier : whose single arm is the bar of arms that are their own classifier.

    Returns
    -------
    One row per control and arm: draws, auc, auc_control (mean; and low, high over the draws), against, gain,
    gain_control (and low, high), reading. Gains are empty for arms that join nothing.
    """
    level, rows = dict(zip(auc["arm"], auc["auc"], strict=True)), []
    less = draws["control"].str.startswith(f"{WITHOUT}:")
    for control, arm, value in draws.loc[less, ["control", "arm", "auc"]].itertuples(index=False):
        level[_lesser(arm, control.partition(":")[2])] = value
    draws = draws[~less]
    for control, arm in draws[["control", "arm"]].drop_duplicates().itertuples(index=False):
        found = draws.loc[(draws["control"] == control) & (draws["arm"] == arm), "auc"].to_numpy()
        row = {"control": control, "arm": arm, "draws": len(found), "auc": level[arm], **_spread("auc_control", found)}
        modality = control.partition(":")[2]
        bar: str | None = _lesser(arm, modality)
        if bar not in level:
            bar = _bar(auc.set_index("arm"), arm, modality, declared, classifier)
        if bar is not None:
            gains = _spread("gain_control", found - level[bar])
            row |= {"against": bar, "gain": level[arm] - level[bar], **gains}
        rows.append(row | {"reading": _reading(row)})
    order = ["control", "arm", "draws", "auc", *_names("auc_control"), "against", "gain", *_names("gain_control")]
    return pd.DataFrame(rows).reindex(columns=[*order, "reading"])


def permuted_table(draws: pd.DataFrame, auc: pd.DataFrame) -> pd.DataFrame:
    """Set each arm's AUC against those that the whole pipeline gives it under permuted outcomes.

    Returns
    -------
    One row per arm: permutations, auc, null_mean, null_low, null_high (2.5 and 97.5 %), p, p_adjusted (for having
    looked at all these arms, over the permutations that all of them have), reading.
    """
    known = auc.set_index("arm")["auc"]
    null = draws.pivot(index="draw", columns="arm", values="auc")
    adjusted = max_adjusted_p({str(arm): float(known[arm]) for arm in null.columns}, null.dropna())
    rows = []
    for arm in dict.fromkeys(draws["arm"]):
        values, true = null[arm].dropna().to_numpy(), float(known[arm])
        low, high = np.quantile(values, [0.025, 0.975])
        p = chance_p(true, values.tolist())
        reading = (
            f"Under {len(values)} permuted outcomes {arm} reaches {values.mean():.2f} on average ({low:.2f} to "
            f"{high:.2f}), and its {true:.2f} or more with p = {p:.3g}{_at_the_least(p, len(values))}."
        )
        rows.append({"arm": arm, "permutations": len(values), "auc": true, "null_mean": values.mean(), "null_low": low,
                     "null_high": high, "p": p, "p_adjusted": adjusted[arm], "reading": reading})  # fmt: skip
    return pd.DataFrame(rows)


def _at_the_least(p: float, count: int) -> str:
    """Say where permutations are too few for a smaller p."""
    return f", the smallest that {count} permutations can give" if p == 1 / (count + 1) else ""


def _bar(auc: pd.DataFrame, arm: str, controlled: str, declared: str, classifier: str) -> str | None:
    """The single arm that a fusion arm must beat: the declared one, or the best of those left untouched."""
    if auc.loc[arm, "fusion"] in ("single", *NOT_CONTROLLED):
        return None
    singles = auc[(auc["fusion"] == "single") & (auc["modalities"] != controlled)]
    own = singles[singles["classifier"] == auc.loc[arm, "classifier"]]
    singles = own if len(own) else singles[singles["classifier"] == classifier]
    named = singles[singles["modalities"] == declared]
    singles = named if len(named) else singles
    return str(singles["auc"].idxmax()) if len(singles) else None


def _lesser(arm: str, modality: str) -> str:
    return f"{arm} without {modality}"


def _names(what: str) -> list[str]:
    return [what, f"{what}_low", f"{what}_high"]


def _spread(what: str, values: np.ndarray) -> dict[str, float]:
    return dict(zip(_names(what), map(float, (values.mean(), values.min(), values.max())), strict=True))


def _reading(row: dict[str, object]) -> str:
    kind, _, modality = str(row["control"]).partition(":")
    count, true, found = int(str(row["draws"])), float(str(row["auc"])), float(str(row["auc_control"]))
    done = f"{modality} shuffled" if kind == SHUFFLE else f"{modality} replaced by noise"
    moves = "falls" if found < true else "rises"
    text = f"With {done} ({count} draw{'' if count == 1 else 's'}) {row['arm']} {moves} from {true:.2f} to {found:.2f}"
    if "gain" not in row:
        return f"{text}."
    gain, left, lowest = (float(str(row[name])) for name in ("gain", "gain_control", "gain_control_low"))
    if gain <= 0:
        what = "there was no gain that could vanish"
    elif left <= 0:
        what = "the gain vanishes" if count > 1 else "the gain vanishes in this one draw"
    elif lowest <= 0:
        what = "these draws do not tell what is left from 0"
    else:
        what = f"a gain stays in every draw, and {modality} does not bring it: look for what does"
    return f"{text}; the gain over {row['against']} goes from {gain:+.2f} to {left:+.2f}: {what}."
