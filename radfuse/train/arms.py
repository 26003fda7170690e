"""Arms: the models that are compared, and the pipeline that each one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from radfuse.data.names import modality_of
from radfuse.data.table import BATCH, CONTEXT, GROUP
from radfuse.errors import ConfigError
from radfuse.train.baselines import Baseline
from radfuse.train.classifiers import Classifier
from radfuse.train.fusion import FusionStrategy
from radfuse.train.imputation import Imputation
from radfuse.train.selection import Selection


@dataclass(frozen=True)
class Arm:
    """One model of the comparison: its name, and everything needed to build it.

    Parameters
    ----------
    name : unique, for example ``late-xgboost`` or ``single-CT-logistic``.
    fusion : one of `radfuse.data.predictions.FUSIONS`.
    modalities : the prefixes it looks at.
    classifier : the classifier's method; ``network`` for intermediate fusion.
    member : the classifier; None where the strategy is its own.
    strategy : how the modalities meet; None for a baseline.
    baseline : the baseline's columns; None for a radiomics arm.
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

    def pipeline(self, columns: Sequence[str], harmonizer: Any) -> Any:
        """Make the unfitted scikit-learn pipeline over the columns of `FeatureTable.rows`.

        Parameters
        ----------
        columns : all columns of the rows; the pipeline keeps those that the arm may look at.
        harmonizer : an unfitted transformer of such rows; it is cloned. Baselines look at raw values.
        """
        from sklearn.base import clone
        from sklearn.pipeline import Pipeline

        from radfuse.train.steps.columns import Columns
        from radfuse.train.steps.facts import Facts
        from radfuse.train.steps.scaler import Scaler

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
        return Pipeline(
            [
                ("columns", Columns(self.visible(columns), [f"{CONTEXT}{GROUP}"])),
                ("impute", self.imputation.build()),
                ("harmonize", clone(harmonizer)),
                ("scale", Scaler()),
                ("classify", strategy),
            ]
        )

    def visible(self, columns: Sequence[str]) -> list[str]:
        """What of some columns it may look at: its modalities' features and batches, and the covariates.

        Of the covariates only the harmoniser makes use. A baseline looks at its own columns.
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
