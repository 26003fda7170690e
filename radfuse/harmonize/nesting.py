"""The transformer behind nested ComBat: one fitted ComBat per batch variable, applied in turn."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import permutations
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from radfuse.data.names import is_fused, modality_of
from radfuse.data.table import CONTEXT, MISSING, feature_columns
from radfuse.errors import ConfigError
from radfuse.harmonize.covariates import refuse_outcome
from radfuse.harmonize.differences import count
from radfuse.harmonize.labels import labels_of
from radfuse.harmonize.matrix import batch_column, put_back, require_rows
from radfuse.harmonize.nested_combat import further_variables
from radfuse.harmonize.transformer import CombatTransformer

log = logging.getLogger(__name__)

FIRST = "batch"  # the name of a modality's own batch column among the variables


class NestedTransformer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """ComBat over several batch variables; the parameters are those of `nested_combat.NestedCombat`.

    Attributes
    ----------
    steps_ : by modality, ``(variable, fitted ComBat)`` in the order of application.
    tried_ : by modality, where the order was searched: each order, and how many (feature, variable) pairs still
        differed in location or spread after it.
    report_ : by modality, the first variable's report (see `CombatTransformer`), with ``order``, ``tried``, ``steps``
        (by variable: batches) and the flags of all steps.
    """

    def __init__(
        self,
        then: dict[str, tuple[str, ...]] | None = None,
        order: str = "given",
        protect: tuple[str, ...] = (),
        empirical_bayes: bool = True,
        merge: dict[str, str] | None = None,
        single: str = "pass",
        small: str = "mean_only",
        small_below: int = 5,
        flag_below: int = 10,
        unseen: str = "pass",
        unseen_level: str = "mode",
        confounded: str = "pass",
        tolerance: float = 1e-4,
    ) -> None:
        self.then = then
        self.order = order
        self.protect = protect
        self.empirical_bayes = empirical_bayes
        self.merge = merge
        self.single = single
        self.small = small
        self.small_below = small_below
        self.flag_below = flag_below
        self.unseen = unseen
        self.unseen_level = unseen_level
        self.confounded = confounded
        self.tolerance = tolerance

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        """Learn from these rows, one variable after another. The outcome is looked at only to refuse it."""
        require_rows(X)
        self.feature_names_in_ = np.array(X.columns.tolist(), dtype=object)
        self.steps_: dict[str, list[tuple[str, CombatTransformer]]] = {}
        self.tried_: dict[str, list[dict[str, Any]]] = {}
        self.report_: dict[str, Any] = {}
        for modality, variables in self._variables(X).items():
            columns = [f"{CONTEXT}{name}" for name in variables if name != FIRST]
            refuse_outcome([c[1:] for c in columns], X[columns].rename(columns=lambda c: c[1:]), y)
            labels = {name: _labels(X, modality, name) for name in variables}
            orders = list(permutations(variables)) if self.order == "searched" else [tuple(variables)]
            chains = [self._chain(X, modality, order, labels, y) for order in orders]
            left = [_left(values, labels) for _, values in chains] if len(orders) > 1 else [0]
            best = int(np.argmin(left))  # the first of equals: the order given, where it is among them
            self.steps_[modality] = chains[best][0]
            if len(orders) > 1:
                self.tried_[modality] = [
                    {"order": list(order), "differing": differing}
                    for order, differing in zip(orders, left, strict=True)
                ]
            self.report_[modality] = self._describe(X, modality)
        log.debug("nested ComBat fitted on %d rows: %s", len(X), {m: self._order(m) for m in self.steps_})
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Harmonise rows with what was learnt; each row is treated by itself."""
        require_rows(X)
        places = {modality: _places(X, modality) for modality in self.steps_}
        changed = {}
        for modality, steps in self.steps_.items():
            values = X.iloc[:, places[modality]].to_numpy(np.float64)
            for variable, model in steps:
                rows = self._rows(X, modality, values, _labels(X, modality, variable))
                values = model.transform(rows).iloc[:, : values.shape[1]].to_numpy(np.float64)
            changed[modality] = values
        return put_back(X, changed, places)

    def flagged(self, X: pd.DataFrame) -> pd.DataFrame:
        """Say what was out of the ordinary about each row.

        A column per modality is true where a step left the row as it was (its label is missing, or was not fitted); a
        column ``@name`` per protected covariate is true where its value was filled in.
        """
        flags = pd.DataFrame(index=X.index)
        for modality in self.steps_:
            every = self._flags(X, modality)
            flags = flags.assign(**{modality: np.logical_or.reduce([each[modality] for each in every.values()])})
            for name in self.protect:
                flags[f"{CONTEXT}{name}"] = next(iter(every.values()))[f"{CONTEXT}{name}"]
        return flags

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[Any]:
        """Give the columns, which are those of the rows fitted."""
        return self.feature_names_in_

    def _variables(self, X: pd.DataFrame) -> dict[str, list[str]]:
        """By modality, its batch variables in the order given; a fused volume has those of its parts."""
        modalities = list(dict.fromkeys(modality_of(column) for column in feature_columns(X)))
        measured = [modality for modality in modalities if not is_fused(modality)]
        prefix = batch_column("")
        owners = [name.removeprefix(prefix) for name in X.columns.tolist() if name.startswith(prefix)]
        labelled = [modality for modality in owners if not is_fused(modality)]
        found = {}
        for modality in modalities:
            further = further_variables(modality, self.then or {}, measured, labelled)
            lacking = [name for name in further if f"{CONTEXT}{name}" not in X]
            if lacking:
                raise ConfigError(
                    f"{modality}: the batch variables {', '.join(lacking)} are not in the table",
                    hint="Name them in cohort.covariates, or as columns of the subjects' table.",
                )
            own = [FIRST] if batch_column(modality) in X else []
            if own or further:
                found[modality] = [*own, *further]
        return found

    def _rows(self, X: pd.DataFrame, modality: str, values: npt.NDArray[np.float64], labels: pd.Series) -> pd.DataFrame:
        """A modality's features as they are by now, who lacks it, the protected covariates, and a variable as batch."""
        names = [*self.protect, f"{MISSING}{modality}"]
        facts = [f"{CONTEXT}{name}" for name in names if f"{CONTEXT}{name}" in X]
        features = pd.DataFrame(values, columns=X.columns[_places(X, modality)], index=X.index)
        return pd.concat([features, X[facts], labels.rename(batch_column(modality))], axis=1)

    def _chain(
        self, X: pd.DataFrame, modality: str, order: Sequence[str], labels: dict[str, pd.Series], y: Any
    ) -> tuple[list[tuple[str, CombatTransformer]], npt.NDArray[np.float64]]:
        """Fit one variable after another; give the steps and the harmonised values."""
        given = {name: value for name, value in self.get_params(deep=False).items() if name not in ("then", "order")}
        values = X.iloc[:, _places(X, modality)].to_numpy(np.float64)
        steps = []
        for variable in order:
            model = CombatTransformer(**given)
            done = model.fit_transform(self._rows(X, modality, values, labels[variable]), y)
            values = done.iloc[:, : values.shape[1]].to_numpy(np.float64)
            steps.append((variable, model))
        return steps, values

    def _order(self, modality: str) -> list[str]:
        return [variable for variable, _ in self.steps_[modality]]

    def _flags(self, X: pd.DataFrame, modality: str) -> dict[str, pd.DataFrame]:
        values = X.iloc[:, _places(X, modality)].to_numpy(np.float64)
        return {
            variable: model.flagged(self._rows(X, modality, values, _labels(X, modality, variable)))
            for variable, model in self.steps_[modality]
        }

    def _describe(self, X: pd.DataFrame, modality: str) -> dict[str, Any]:
        reports: dict[str, dict[str, Any]] = {
            variable: model.report_[modality] for variable, model in self.steps_[modality]
        }
        main = reports.get(FIRST) or next(iter(reports.values()))
        several = len(reports) > 1
        passed = np.logical_or.reduce([each[modality] for each in self._flags(X, modality).values()])
        return main | {
            "order": self._order(modality),
            "tried": self.tried_.get(modality, []),
            "steps": {variable: report["batches"] for variable, report in reports.items()},
            "rows_passed": int(passed.sum()),
            "subjects_passed": [str(subject) for subject in X.index[passed]],
            "flags": [
                f"{variable}: {flag}" if several else flag
                for variable, report in reports.items()
                for flag in report["flags"]
            ],
        }


def _places(X: pd.DataFrame, modality: str) -> npt.NDArray[np.int64]:
    names = X.columns.tolist()
    own = [p for p, name in enumerate(names) if not name.startswith(CONTEXT) and modality_of(name) == modality]
    return np.array(own, dtype=np.int64)


def _labels(X: pd.DataFrame, modality: str, variable: str) -> pd.Series:
    """A variable's labels; a number such as 120 kVp is a label as good as a name."""
    return labels_of(X, modality, None if variable == FIRST else variable)


def _left(values: npt.NDArray[np.float64], labels: dict[str, pd.Series]) -> int:
    """How many (feature, variable) pairs still differ; rows without a label, or without the modality, take no part."""
    total = 0
    for column in labels.values():
        known = column.notna().to_numpy()
        total += count(values[known], column[known].astype(str).to_numpy(dtype=object))
    return total
