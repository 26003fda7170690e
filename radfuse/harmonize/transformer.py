"""The scikit-learn transformers behind the family's members."""

from __future__ import annotations

import logging
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from radfuse.data.table import BATCH, CONTEXT, GROUP, MISSING, OUTCOME
from radfuse.errors import ConfigError, DataError
from radfuse.harmonize.batches import PASSED, Policy, assign, plan
from radfuse.harmonize.covariance import FEWEST_ROWS, Covariance, fit_covariance
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
from radfuse.harmonize.labels import lacking, text_of
from radfuse.harmonize.matrix import batch_column, by_modality, matrix, put_back, require_finite, require_rows

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
    """ComBat over `FeatureTable.rows`, one model per modality; the parameters are those of the family's members.

    Attributes
    ----------
    estimates_ : by modality, what `Estimates.to_dict` gives; a modality with fewer than two batches has none.
    covariances_ : by modality, what `Covariance.to_dict` gives; empty unless ``variance`` asks for it.
    plans_ : by modality, what `batches.plan` decided.
    confounded_ : the modalities left as they are, because the covariates cannot be told from their batches.
    covariates_ : by protected covariate, how it is encoded.
    places_ : by modality, where its feature columns are.
    report_ : by modality, what was done, in plain data: ``batches`` (by label: rows, treatment), ``rows``,
        ``rows_lacking`` (without the modality: they take no part), ``rows_passed``, ``subjects_passed``, ``features``,
        ``left_out`` (features returned as they are), ``covariates`` (by name: missing values filled in),
        ``components`` (whose covariance was harmonised), ``reference``, ``backend``, ``iterations``, ``converged`` and
        ``flags`` (sentences).
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
        smooth: tuple[str, ...] = (),
        knots: int = 4,
        variance: float = 0.0,
        least_rows: int = 100,
        too_few: str = "combat",
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
        self.smooth = smooth
        self.knots = knots
        self.variance = variance
        self.least_rows = least_rows
        self.too_few = too_few

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        """Learn from these rows. The outcome is looked at for one thing: to refuse it as a covariate."""
        self._fit(X, y)
        return self

    def fit_transform(self, X: pd.DataFrame, y: Any = None, **_: Any) -> pd.DataFrame:
        """Learn from these rows and harmonise them: the same numbers as one after the other, in half the time."""
        return put_back(X, self._fit(X, y), self.places_)

    def _fit(self, X: pd.DataFrame, y: Any) -> dict[str, Array]:
        """Learn, and give each modality's values harmonised."""
        facts = self._facts(X)
        refuse_outcome(self.protect, facts, y)
        self.feature_names_in_ = np.array(X.columns.tolist(), dtype=object)
        self.covariates_ = {name: learn(facts[name], self.knots if name in self.smooth else 0) for name in self.protect}
        encoded = self._encoded(facts)
        design = _design(encoded, len(X))
        self.plans_: dict[str, Any] = {}
        self.estimates_: dict[str, Any] = {}
        self.covariances_: dict[str, Any] = {}
        self.report_: dict[str, Any] = {}
        self.confounded_: list[str] = []
        self.places_ = by_modality(self.feature_names_in_.tolist())
        harmonised: dict[str, Array] = {}
        for modality, places in self.places_.items():
            policy = self._policy(modality)
            lacks = lacking(X, modality)
            planned = plan(X.loc[~lacks, batch_column(modality)], policy, modality)
            batch = self._assigned(X, modality, planned, lacks)
            values = matrix(X, places, modality)
            self.plans_[modality] = planned
            estimates = None
            if len(planned["fitted"]) >= 2:
                estimates = self._estimate(modality, values, batch, design, facts)
            if estimates is not None:
                self.estimates_[modality] = estimates.to_dict()
                values = estimates.apply(values, batch, design)
                values = self._vary_together(modality, values, batch, design, estimates)
                require_finite(values, X.columns, places, f"{modality}, after harmonising")
            harmonised[modality] = values
            self.report_[modality] = self._describe(modality, X.index, places, batch, lacks, encoded, estimates)
        log.debug("ComBat fitted on %d rows: %s", len(X), ", ".join(self.report_) or "no modality has a batch column")
        return harmonised

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Harmonise rows with what was learnt; each row is treated by itself."""
        given = self._places(X)
        design = _design(self._encoded(self._facts(X)), len(X))
        harmonised: dict[str, Array] = {}
        for modality, places in given.items():
            batch = self._assigned(X, modality, self.plans_[modality], lacking(X, modality))
            values = matrix(X, places, modality)
            if modality in self.estimates_:
                estimates = Estimates.from_dict(self.estimates_[modality])
                values = estimates.apply(values, batch, design)
                if modality in self.covariances_:
                    step = Covariance.from_dict(self.covariances_[modality])
                    values = step.apply(values, batch, design, estimates)
                require_finite(values, X.columns, places, f"{modality}, after harmonising")
            harmonised[modality] = values
        return put_back(X, harmonised, given)

    def flagged(self, X: pd.DataFrame) -> pd.DataFrame:
        """Say what was out of the ordinary about each row.

        A column per modality is true where the row is left as it is (no batch label, or a batch that was not fitted),
        and false where it has no value of that modality, so that there is nothing to harmonise; a column ``@name`` per
        protected covariate is true where its value was missing or unseen, and filled in.
        """
        facts = self._facts(X)
        flags = {}
        places = by_modality(X.columns.tolist())
        for modality, planned in self.plans_.items():
            lacks = lacking(X, modality) | X.iloc[:, places[modality]].isna().all(axis=1).to_numpy()
            batch = self._assigned(X, modality, planned, lacks)
            flags[modality] = ((batch == PASSED) | (modality in self.confounded_)) & ~lacks
        filled = {f"{CONTEXT}{name}": rows for name, (_, rows) in self._encoded(facts).items()}
        return pd.DataFrame(flags | filled, index=X.index)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[Any]:
        """Give the columns, which are those of the rows fitted."""
        return self.feature_names_in_

    def _policy(self, modality: str) -> Policy:
        one_rule = self.backend == "neurocombat" and self.small == "mean_only"  # the package cannot mix manners
        return Policy(
            merge={text_of(label): text_of(other) for label, other in (self.merge or {}).items()},
            single=self.single,
            small=self.small,
            small_below=2 if one_rule else self.small_below,
            flag_below=self.flag_below,
            unseen=self.unseen,
            mean_only=self.mean_only,
            reference=text_of((self.reference_batch or {}).get(modality, "")),
        )

    def _assigned(
        self, X: pd.DataFrame, modality: str, planned: dict[str, Any], lacks: npt.NDArray[np.bool_]
    ) -> npt.NDArray[Any]:
        """The batch of each row; a row that lacks the modality has none, whatever its label."""
        batch = np.full(len(X), PASSED, dtype=object)
        labels = X.loc[~lacks, batch_column(modality)]
        batch[~lacks] = assign(labels, planned, self._policy(modality), modality)
        return batch

    def _recipe(self, modality: str) -> Recipe:
        return Recipe(
            empirical_bayes=self.empirical_bayes,
            location_only=frozenset(self.plans_[modality]["location_only"]),
            reference=self._policy(modality).reference,
            tolerance=self.tolerance,
        )

    def _facts(self, X: pd.DataFrame) -> pd.DataFrame:
        require_rows(X)
        for name in self.protect:
            if name in (OUTCOME, GROUP) or name.startswith(BATCH):
                raise ConfigError(
                    f"{name!r} cannot be protected", hint="Protect only covariates known before the outcome."
                )
            if f"{CONTEXT}{name}" not in X:
                known = [c[1:] for c in X.columns if c.startswith(CONTEXT) and not c[1:].startswith((BATCH, MISSING))]
                raise ConfigError(
                    f"the protected covariate {name!r} is not in the table; found {', '.join(known) or 'none'}",
                    hint="Name it in cohort.covariates, or as a column of the subjects' table.",
                )
        return pd.DataFrame({name: X[f"{CONTEXT}{name}"] for name in self.protect}, index=X.index)

    def _encoded(self, facts: pd.DataFrame) -> dict[str, tuple[Array, npt.NDArray[np.bool_]]]:
        return {name: encode(facts[name], self.covariates_[name], self.unseen_level) for name in self.protect}

    def _estimate(
        self, modality: str, values: Array, batch: npt.NDArray[Any], design: Array, facts: pd.DataFrame
    ) -> Estimates | None:
        own = batch != PASSED
        values, names, design = (values, batch, design) if own.all() else (values[own], batch[own], design[own])
        if design.shape[1] and not separable(design, names.astype(str)):
            if self.confounded == "refuse":
                require_separable(design, names.astype(str), facts[own], modality)
            self.confounded_.append(modality)
            return None
        recipe = self._recipe(modality)
        if self.backend == "neurocombat":
            from radfuse.harmonize.upstream import fit_upstream

            return fit_upstream(values, names, design, recipe)
        return fit(values, names, design, recipe)

    def _vary_together(
        self, modality: str, values: Array, batch: npt.NDArray[Any], design: Array, estimates: Estimates
    ) -> Array:
        """Harmonise the covariances too, where that is asked for and the rows are many enough."""
        own = batch != PASSED
        if not self.variance:
            return values
        if own.sum() < self.least_rows:
            if self.too_few == "refuse":
                raise DataError(
                    f"{modality}: {int(own.sum())} rows are too few to harmonise covariances, expected at least "
                    f"{self.least_rows}",
                    hint="Use method combat, or set harmonizer.too_few: combat or a smaller harmonizer.least_rows.",
                )
            return values
        step = fit_covariance(values[own], batch[own], design[own], estimates, self._recipe(modality), self.variance)
        if step is None:
            return values
        self.covariances_[modality] = step.to_dict()
        return step.apply(values, batch, design, estimates)

    def _describe(
        self,
        modality: str,
        subjects: pd.Index,
        places: npt.NDArray[np.int64],
        batch: npt.NDArray[Any],
        lacks: npt.NDArray[np.bool_],
        encoded: dict[str, tuple[Array, npt.NDArray[np.bool_]]],
        estimates: Estimates | None,
    ) -> dict[str, Any]:
        planned = self.plans_[modality]
        passed = ((batch == PASSED) | (modality in self.confounded_)) & ~lacks
        fitted = ~passed & ~lacks
        left_out: list[str] = []
        if estimates is not None:
            left_out = self.feature_names_in_[places[~estimates.usable]].tolist()
        filled = {name: int(rows.sum()) for name, (_, rows) in encoded.items()}
        return {
            "batches": {
                label: {"rows": rows, "treatment": planned["treatment"][label]}
                for label, rows in planned["rows"].items()
            },
            "rows": len(subjects),
            "rows_lacking": int(lacks.sum()),
            "rows_passed": int(passed.sum()),
            "subjects_passed": [str(subject) for subject in subjects[passed]] if passed.any() else [],
            "features": len(places),
            "left_out": left_out,
            "covariates": filled,
            "components": len(self.covariances_[modality]["axes"]) if modality in self.covariances_ else 0,
            "reference": self._policy(modality).reference,
            "backend": self.backend,
            "iterations": {} if estimates is None else _by_batch(estimates, estimates.iterations),
            "converged": estimates is None or bool(estimates.converged.all()),
            "flags": [
                *([f"{int(lacks.sum())} rows lack the modality and take no part in it"] if lacks.any() else []),
                *planned["flags"],
                *self._remarks(modality, len(places), len(left_out), fitted, estimates),
                *(f"covariate {name}: {count} values filled in" for name, count in filled.items() if count),
                *_entanglements(encoded if estimates is not None else {}, batch, fitted),
            ],
        }

    def _remarks(
        self, modality: str, features: int, left_out: int, fitted: npt.NDArray[np.bool_], estimates: Estimates | None
    ) -> list[str]:
        if modality in self.confounded_:
            return ["the protected covariates cannot be told from the batches: the modality is left as it is"]
        if estimates is None:
            return []
        remarks = []
        if left_out:
            remarks.append(f"{left_out} of {features} features do not vary in some batch and are left alone")
        if self.empirical_bayes and estimates.usable.sum() == 1:
            remarks.append("a single feature: nothing to borrow strength from, so no empirical Bayes")
        if not estimates.converged.all():
            remarks.append("the iteration stopped at its cap before it converged")
        for name in self.smooth:
            if self.covariates_[name]["kind"] != "smooth":
                remarks.append(f"covariate {name}: too few different values for a curve, fitted as a straight line")
        if self.variance and modality not in self.covariances_:
            rows, vary = int(fitted.sum()), int(estimates.usable.sum())
            few = f"{rows} rows are too few to harmonise covariances (least_rows {max(self.least_rows, FEWEST_ROWS)})"
            alone = f"{vary} of {features} features vary in every batch, too few to harmonise covariances"
            remarks.append(f"{few if rows < max(self.least_rows, FEWEST_ROWS) else alone}: ComBat alone")
        return remarks

    def _places(self, X: pd.DataFrame) -> dict[str, npt.NDArray[np.int64]]:
        """Where the features of each modality are; rows without flags of missing modalities lack none."""
        require_rows(X)
        now, then = X.columns.tolist(), self.feature_names_in_.tolist()
        if now == then:
            return self.places_
        if _without_flags(now) == _without_flags(then):
            return by_modality(now)
        fitted, given = set(_without_flags(then)), set(_without_flags(now))
        raise DataError(
            f"the columns are not those that were fitted: {len(fitted - given)} missing {sorted(fitted - given)[:3]}, "
            f"{len(given - fitted)} new {sorted(given - fitted)[:3]}, or another order",
            hint="Give the table's rows with the same features and context as in training.",
        )


def _design(encoded: dict[str, tuple[Array, npt.NDArray[np.bool_]]], rows: int) -> Array:
    return np.hstack([np.zeros((rows, 0)), *(columns for columns, _ in encoded.values())])


def _without_flags(columns: list[str]) -> list[str]:
    """The columns that new rows must have: groups are for folds, so that whoever predicts needs none."""
    return [c for c in columns if not c.startswith(CONTEXT + MISSING) and c != CONTEXT + GROUP]


def _entanglements(
    encoded: dict[str, tuple[Array, npt.NDArray[np.bool_]]], batch: npt.NDArray[Any], own: npt.NDArray[np.bool_]
) -> list[str]:
    shares = {name: entangled(columns[own], batch[own]) for name, (columns, _) in encoded.items()}
    return [
        f"covariate {name} goes together with the batches ({share:.0%} of its variance)"
        for name, share in shares.items()
        if share > ENTANGLED
    ]


def _by_batch(estimates: Estimates, numbers: npt.NDArray[Any]) -> dict[str, int]:
    return {batch: int(number) for batch, number in zip(estimates.batches, numbers, strict=True)}
