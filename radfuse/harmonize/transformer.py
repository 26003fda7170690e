"""The scikit-learn transformers behind the family's members."""

from __future__ import annotations

import logging
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from radfuse.data.names import modality_of
from radfuse.data.table import BATCH, CONTEXT, GROUP, OUTCOME
from radfuse.errors import ConfigError, DataError
from radfuse.harmonize.batches import PASSED, Policy, assign, plan
from radfuse.harmonize.covariates import (
    ENTANGLED,
    encode,
    entangled,
    learn,
    refuse_outcome,
    require_separable,
    separable,
)
from radfuse.harmonize.estimates import Array, Estimates, Recipe, fit

log = logging.getLogger(__name__)


class IdentityTransformer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Leave every row as it is."""

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        """Learn nothing but the columns."""
        self.feature_names_in_ = np.array(X.columns, dtype=object)
        self.report_: dict[str, Any] = {}
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Give the rows back."""
        return X

    def flagged(self, X: pd.DataFrame) -> pd.DataFrame:
        """Nothing is harmonised, so no row stands out."""
        return pd.DataFrame(index=X.index)


class CombatTransformer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """ComBat over `FeatureTable.rows`, one model per modality; the parameters are those of `ComBat`.

    Attributes
    ----------
    estimates_ : by modality, what `Estimates.to_dict` gives; a modality with fewer than two batches has none.
    plans_ : by modality, what `batches.plan` decided.
    confounded_ : the modalities left as they are, because the covariates cannot be told from their batches.
    covariates_ : by protected covariate, how it is encoded.
    places_ : by modality, where its feature columns are.
    report_ : by modality, what was done, in plain data: ``batches`` (by label: rows, treatment), ``rows``,
        ``rows_passed``, ``subjects_passed``, ``features``, ``left_out`` (features returned as they are),
        ``covariates`` (by name: missing values filled in), ``reference``, ``backend``, ``iterations``, ``converged``
        and ``flags`` (sentences).
    """

    def __init__(
        self,
        protect: tuple[str, ...] = (),
        empirical_bayes: bool = True,
        mean_only: bool = False,
        reference_batch: dict[str, str] | None = None,
        merge: dict[str, str] | None = None,
        single: str = "pass",
        small: str = "mean_only",
        small_below: int = 5,
        flag_below: int = 10,
        unseen: str = "pass",
        unseen_level: str = "mode",
        confounded: str = "pass",
        tolerance: float = 1e-4,
        backend: str = "radfuse",
    ) -> None:
        self.protect = protect
        self.empirical_bayes = empirical_bayes
        self.mean_only = mean_only
        self.reference_batch = reference_batch
        self.merge = merge
        self.single = single
        self.small = small
        self.small_below = small_below
        self.flag_below = flag_below
        self.unseen = unseen
        self.unseen_level = unseen_level
        self.confounded = confounded
        self.tolerance = tolerance
        self.backend = backend

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        """Learn from these rows. The outcome is looked at for one thing: to refuse it as a covariate."""
        facts = self._facts(X)
        refuse_outcome(self.protect, facts, y)
        self.feature_names_in_ = np.array(X.columns, dtype=object)
        self.covariates_ = {name: learn(facts[name]) for name in self.protect}
        design, filled = self._design(facts)
        self.plans_: dict[str, Any] = {}
        self.estimates_: dict[str, Any] = {}
        self.report_: dict[str, Any] = {}
        self.confounded_: list[str] = []
        self.places_ = _by_modality(X)
        for modality, places in self.places_.items():
            policy = self._policy(modality)
            planned = plan(X[_batch_column(modality)], policy, modality)
            batch = assign(X[_batch_column(modality)], planned, policy, modality)
            values = _values(X, places, modality)
            columns = self.feature_names_in_[places].tolist()
            self.plans_[modality] = planned
            estimates = None
            if len(planned["fitted"]) >= 2:
                estimates = self._estimate(modality, values, batch, design, facts)
            if estimates is not None:
                self.estimates_[modality] = estimates.to_dict()
            self.report_[modality] = self._describe(modality, X, columns, batch, filled, estimates)
        log.debug("ComBat fitted on %d rows: %s", len(X), ", ".join(self.report_) or "no modality has a batch column")
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Harmonise rows with what was learnt; each row is treated by itself."""
        self._require_same_columns(X)
        design, _ = self._design(self._facts(X))
        parts: list[pd.DataFrame] = []
        for modality, places in self.places_.items():
            policy, planned = self._policy(modality), self.plans_[modality]
            batch = assign(X[_batch_column(modality)], planned, policy, modality)
            values = _values(X, places, modality)
            if modality in self.estimates_:
                values = Estimates.from_dict(self.estimates_[modality]).apply(values, batch, design)
                _require_finite(values, X.columns[places], f"{modality}, after harmonising")
            parts.append(pd.DataFrame(values, columns=X.columns[places], index=X.index))
        done = np.concatenate([np.empty(0, dtype=np.int64), *self.places_.values()])
        rest = np.setdiff1d(np.arange(X.shape[1]), done)
        back = np.argsort(np.concatenate([done, rest]))
        return pd.concat([*parts, X.iloc[:, rest]], axis=1).iloc[:, back]

    def flagged(self, X: pd.DataFrame) -> pd.DataFrame:
        """Say what was out of the ordinary about each row.

        A column per modality is true where the row is left as it is (no batch label, or a batch that was not fitted);
        a column ``@name`` per protected covariate is true where its value was missing or unseen, and filled in.
        """
        facts = self._facts(X)
        flags = {}
        for modality, planned in self.plans_.items():
            batch = assign(X[_batch_column(modality)], planned, self._policy(modality), modality)
            flags[modality] = (batch == PASSED) | (modality in self.confounded_)
        filled = self._design(facts)[1]
        return pd.DataFrame(flags | {f"{CONTEXT}{name}": rows for name, rows in filled.items()}, index=X.index)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[Any]:
        """Give the columns, which are those of the rows fitted."""
        return self.feature_names_in_

    def _policy(self, modality: str) -> Policy:
        one_rule = self.backend == "neurocombat" and self.small == "mean_only"  # the package cannot mix manners
        return Policy(
            merge=self.merge or {},
            single=self.single,
            small=self.small,
            small_below=2 if one_rule else self.small_below,
            flag_below=self.flag_below,
            unseen=self.unseen,
            mean_only=self.mean_only,
            reference=(self.reference_batch or {}).get(modality, ""),
        )

    def _facts(self, X: pd.DataFrame) -> pd.DataFrame:
        if not isinstance(X, pd.DataFrame):
            raise DataError(f"expected the rows of a FeatureTable, found {type(X).__name__}")
        for name in self.protect:
            if name in (OUTCOME, GROUP) or name.startswith(BATCH):
                raise ConfigError(
                    f"{name!r} cannot be protected", hint="Protect only covariates known before the outcome."
                )
            if f"{CONTEXT}{name}" not in X:
                known = [c[1:] for c in X.columns if c.startswith(CONTEXT) and not c.startswith(CONTEXT + BATCH)]
                raise ConfigError(
                    f"the protected covariate {name!r} is not in the table; found {', '.join(known) or 'none'}",
                    hint="Name it in cohort.covariates, or as a column of the subjects' table.",
                )
        return pd.DataFrame({name: X[f"{CONTEXT}{name}"] for name in self.protect}, index=X.index)

    def _design(self, facts: pd.DataFrame) -> tuple[Array, dict[str, npt.NDArray[np.bool_]]]:
        encoded = {name: encode(facts[name], self.covariates_[name], self.unseen_level) for name in self.protect}
        columns = [matrix for matrix, _ in encoded.values()]
        design = np.hstack(columns) if columns else np.zeros((len(facts), 0))
        return design, {name: filled for name, (_, filled) in encoded.items()}

    def _estimate(
        self, modality: str, values: Array, batch: npt.NDArray[Any], design: Array, facts: pd.DataFrame
    ) -> Estimates | None:
        own = batch != PASSED
        if self.confounded == "pass" and not separable(design[own], batch[own].astype(str)):
            self.confounded_.append(modality)
            return None
        require_separable(design[own], batch[own].astype(str), facts[own], modality)
        policy = self._policy(modality)
        recipe = Recipe(
            empirical_bayes=self.empirical_bayes,
            location_only=frozenset(self.plans_[modality]["location_only"]),
            reference=policy.reference,
            tolerance=self.tolerance,
        )
        if self.backend == "neurocombat":
            from radfuse.harmonize.upstream import fit_upstream

            return fit_upstream(values[own], batch[own], design[own], recipe)
        return fit(values[own], batch[own], design[own], recipe)

    def _describe(
        self,
        modality: str,
        X: pd.DataFrame,
        columns: list[str],
        batch: npt.NDArray[Any],
        filled: dict[str, npt.NDArray[np.bool_]],
        estimates: Estimates | None,
    ) -> dict[str, Any]:
        planned = self.plans_[modality]
        passed = (batch == PASSED) | (modality in self.confounded_)
        flags = list(planned["flags"])
        if modality in self.confounded_:
            flags.append("the protected covariates cannot be told from the batches: the modality is left as it is")
        left_out: list[str] = []
        if estimates is not None:
            left_out = [column for column, used in zip(columns, estimates.usable, strict=True) if not used]
            if left_out:
                flags.append(f"{len(left_out)} of {len(columns)} features do not vary in some batch and are left alone")
            if self.empirical_bayes and estimates.usable.sum() == 1:
                flags.append("a single feature: nothing to borrow strength from, so no empirical Bayes")
            if not estimates.converged.all():
                flags.append("the iteration stopped at its cap before it converged")
        flags += [f"covariate {name}: {int(f.sum())} values filled in" for name, f in filled.items() if f.any()]
        own = ~passed
        for name in self.protect if estimates is not None else ():
            columns_of_it = encode(X[f"{CONTEXT}{name}"], self.covariates_[name], self.unseen_level)[0]
            share = entangled(columns_of_it[own], batch[own])
            if share > ENTANGLED:
                flags.append(f"covariate {name} goes together with the batches ({share:.0%} of its variance)")
        return {
            "batches": {
                label: {"rows": rows, "treatment": planned["treatment"][label]}
                for label, rows in planned["rows"].items()
            },
            "rows": len(X),
            "rows_passed": int(passed.sum()),
            "subjects_passed": [str(subject) for subject in X.index[passed]],
            "features": len(columns),
            "left_out": left_out,
            "covariates": {name: int(rows.sum()) for name, rows in filled.items()},
            "reference": self._policy(modality).reference,
            "backend": self.backend,
            "iterations": {} if estimates is None else _by_batch(estimates, estimates.iterations),
            "converged": estimates is None or bool(estimates.converged.all()),
            "flags": flags,
        }

    def _require_same_columns(self, X: pd.DataFrame) -> None:
        if X.columns.tolist() == self.feature_names_in_.tolist():
            return
        fitted, given = set(self.feature_names_in_), set(X.columns)
        raise DataError(
            f"the columns are not those that were fitted: {len(fitted - given)} missing {sorted(fitted - given)[:3]}, "
            f"{len(given - fitted)} new {sorted(given - fitted)[:3]}, or another order",
            hint="Give the table's rows with the same features and context as in training.",
        )


def _batch_column(modality: str) -> str:
    return f"{CONTEXT}{BATCH}{modality}"


def _by_modality(X: pd.DataFrame) -> dict[str, npt.NDArray[np.int64]]:
    """The places of the feature columns of each modality that has a batch column."""
    names = X.columns.tolist()
    labelled = {name for name in names if name.startswith(f"{CONTEXT}{BATCH}")}
    found: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        if not name.startswith(CONTEXT) and _batch_column(modality_of(name)) in labelled:
            found.setdefault(modality_of(name), []).append(place)
    return {modality: np.array(places, dtype=np.int64) for modality, places in found.items()}


def _values(X: pd.DataFrame, places: npt.NDArray[np.int64], modality: str) -> Array:
    values = X.iloc[:, places].to_numpy(dtype=np.float64)
    _require_finite(values, X.columns[places], modality)
    return values


def _require_finite(values: Array, columns: pd.Index, where: str) -> None:
    finite = np.isfinite(values)
    if finite.all():
        return
    bad = [str(name) for name in columns[~np.all(finite, axis=0)]]
    raise DataError(
        f"{where}: {int((~finite).sum())} of {finite.size} values are missing or infinite, in {len(bad)} features "
        f"such as {', '.join(bad[:3])}",
        hint="Impute before harmonising; ComBat spreads one missing value over all features.",
    )


def _by_batch(estimates: Estimates, numbers: npt.NDArray[Any]) -> dict[str, int]:
    return {batch: int(number) for batch, number in zip(estimates.batches, numbers, strict=True)}
