"""Arms: the models that are compared, and the pipeline that each one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from radfuse.data.names import modality_of
from radfuse.data.table import BATCH, CONTEXT, GROUP
from radfuse.errors import ConfigError
from radfuse.train.baselines import Baseline
from radfuse.train.classifiers import Classifier
from radfuse.train.clinical import CLINICAL, HIDDEN
from radfuse.train.explanation import Explain
from radfuse.train.fusion import FusionStrategy
from radfuse.train.imputation import Imputation
from radfuse.train.operating import Operating
from radfuse.train.selection import Selection
from radfuse.train.stability import StabilityFilter

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Arm:
    """One model of the comparison: its name, and everything needed to build it.

    Parameters
    ----------
    name : unique, for example ``late-xgboost`` or ``single-CT-logistic``.
    fusion : one of `radfuse.data.predictions.FUSIONS`.
    modalities : the prefixes it looks at.
    classifier : the classifier's title; ``network`` for intermediate fusion.
    member : the classifier; None where the strategy is its own.
    strategy : how the modalities meet; None for a baseline.
    baseline : the baseline's columns; None for a radiomics arm.
    stability : which features are steady enough; None keeps all of them. A baseline looks at its own columns.
    clinical : the subjects' columns that the modality ``clinical`` is made of; empty where it takes no part.
    operating : how thresholds of its scores are chosen; None chooses none.
    explain : how it is asked what it leans on; None does not ask.
    perturbed : the repeated measurements behind ``stability``, indexed by subject and perturbation.
    """

    name: str
    fusion: str
    modalities: tuple[str, ...]
    classifier: str
    imputation: Imputation
    selection: Selection
    seed: int
    member: Classifier | None = None
    strategy: FusionStrategy | None = None
    baseline: Baseline | None = None
    stability: StabilityFilter | None = None
    clinical: tuple[str, ...] = ()
    operating: Operating | None = None
    explain: Explain | None = None
    perturbed: pd.DataFrame | None = field(default=None, compare=False, repr=False)

    @property
    def joins(self) -> bool:
        """Whether it joins several modalities, so that it may have to do with fewer."""
        return self.strategy is not None and self.strategy.joins and len(self.modalities) > 1

    def pipeline(self, columns: Sequence[str], harmonizer: Any) -> Any:
        """Make the unfitted scikit-learn pipeline over the columns of `FeatureTable.rows`.

        Parameters
        ----------
        columns : all columns of the rows; the pipeline keeps those that the arm may look at.
        harmonizer : an unfitted transformer of such rows; it is cloned. Baselines look at raw values.
        """
        from sklearn.base import clone
        from sklearn.pipeline import Pipeline

        from radfuse.train.steps.clinical import Clinical
        from radfuse.train.steps.columns import Columns
        from radfuse.train.steps.facts import Facts
        from radfuse.train.steps.scaler import Scaler
        from radfuse.train.steps.tuned import Tuned

        classifier = None if self.member is None else self.member.build(self.seed)
        if self.baseline is not None:
            return Pipeline(
                [
                    ("columns", Columns(list(self.baseline.columns))),
                    ("facts", Facts(self.baseline.volumes)),
                    ("classify", classifier),
                ]
            )
        if self.strategy is None:
            raise ConfigError(f"arm {self.name!r} has neither a fusion strategy nor a baseline")
        strategy = self.strategy.build(self.modalities, self.selection.build(), classifier, self.seed)
        if self.member is not None and self.member.tune is not False:
            tried = [each.build(self.seed) for each in self.member.candidates()]
            strategy = Tuned(strategy, tried, self.member.tried(), self.seed)
        measured = [
            *([] if self.stability is None else [("stable", self.stability.build())]),
            ("impute", self.imputation.build()),
            ("harmonize", clone(harmonizer)),
        ]
        return Pipeline(
            [
                ("columns", Columns(self.visible(columns), [f"{CONTEXT}{GROUP}"], [HIDDEN] if self.clinical else [])),
                *(measured if self.modalities != (CLINICAL,) else []),
                *([("clinical", Clinical(list(self.clinical)))] if self.clinical else []),
                ("scale", Scaler()),
                ("classify", strategy),
            ]
        )

    def fitted(self, rows: pd.DataFrame, outcome: pd.Series, harmonizer: Any) -> Any:
        """Make the pipeline and fit it on training rows; of a tuned one the strategy that won is left."""
        from radfuse.train.steps.tuned import Tuned

        pipeline = self.pipeline(rows.columns.tolist(), harmonizer)
        told = {"stable__perturbed": self.perturbed} if "stable" in pipeline.named_steps else {}
        pipeline.fit(rows, outcome, **told)
        name, last = pipeline.steps[-1]
        if isinstance(last, Tuned):
            pipeline.steps[-1] = (name, last.strategy_)
        return pipeline

    def visible(self, columns: Sequence[str]) -> list[str]:
        """What of some columns it may look at: its modalities' features and batches, and the covariates.

        Of the covariates only the harmoniser and the clinical modality make use. A baseline looks at its own columns.
        """
        if self.baseline is not None:
            return [column for column in columns if column in self.baseline.columns]
        batch = f"{CONTEXT}{BATCH}"
        seen = []
        for column in columns:
            owner = column.removeprefix(batch) if column.startswith(batch) else modality_of(column)
            fact = column.startswith(CONTEXT) and not column.startswith(batch)
            if fact or owner in self.modalities:
                seen.append(column)
        return seen
