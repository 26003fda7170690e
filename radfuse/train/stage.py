"""The train stage: which models are compared, in which folds, and how they are judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, ClassVar, Self

import pandas as pd
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from radfuse.component import Frozen, Stage
from radfuse.data.predictions import Predictions
from radfuse.data.table import FeatureTable
from radfuse.errors import ConfigError
from radfuse.train.arms import Arm
from radfuse.train.baselines import Baselines
from radfuse.train.classifiers import Classifier
from radfuse.train.classifiers.logistic import Logistic
from radfuse.train.evaluation import ArmResult, run_arm
from radfuse.train.fusion import FusionStrategy
from radfuse.train.fusion.early import Early
from radfuse.train.fusion.intermediate import Intermediate
from radfuse.train.fusion.late import Late
from radfuse.train.imputation import Imputation
from radfuse.train.scores import Bootstrap, compare, score_table
from radfuse.train.selection import Selection
from radfuse.train.selection.anova import Anova
from radfuse.train.splits import Splits
from radfuse.train.stability import StabilityFilter
from radfuse.train.withheld import WITHHELD, withheld_table

__all__ = ["Arm", "ArmResult", "Primary", "Train"]

NETWORK = "network"


class Primary(Frozen):
    """The one comparison declared before the run; everything else in the table is exploration."""

    fusion: str = Field("early", description="The fusion level that is put to the test.")
    against: str | None = Field(None, description="The modality it must beat; by default the first one.")
    classifier: str | None = Field(None, description="The classifier of both; by default the first one.")


class Train(Stage):
    """Train every arm in the same folds, and compare them."""

    name: ClassVar[str] = "train"
    version: ClassVar[int] = 3

    fusions: tuple[FusionStrategy, ...] = Field(
        (Early(), Intermediate(), Late()), description="Fusion levels: early, intermediate, late, chosen."
    )
    classifiers: tuple[Classifier, ...] = Field(
        (Logistic(),), description="logistic, random_forest, xgboost, svm, lda."
    )
    stability: StabilityFilter | None = Field(
        None, description="Which features are steady enough to be used, by `radfuse stability`; null: all of them."
    )
    imputation: Imputation = Field(Imputation(), description="How missing values are filled.")
    selection: Selection = Field(Anova(), description="How features are chosen, in each fold.")
    splits: Splits = Field(Splits(), description="The folds; called with a table, draws them.")
    baselines: Baselines = Field(Baselines(), description="Simple models in the same folds.")
    known_after_imaging: tuple[str, ...] = Field((), description="Subject columns that no model may ever use.")
    images: bool = Field(True, description="Whether each fused image is an arm of its own.")
    with_fused: bool = Field(False, description="Whether fused images join early, intermediate and late fusion too.")
    primary: Primary = Field(Primary(), description="The comparison declared before the run.")
    bootstrap: PositiveInt = Field(2000, description="Resamples of the patients behind every interval.")
    confidence: float = Field(0.95, gt=0.5, lt=1.0, description="Coverage of the intervals.")
    seed: NonNegativeInt = Field(0, description="Decides everything random in the models and the resamples.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for what, names in (
            ("classifiers", [member.method for member in self.classifiers]),
            ("fusions", [member.title for member in self.fusions]),
        ):
            twice = [name for name, count in Counter(names).items() if count > 1]
            if twice:
                raise ValueError(f"{what} names {', '.join(twice)} twice; two arms would share a name")
        if not self.classifiers:
            raise ValueError("name at least one classifier: logistic, random_forest, xgboost, svm or lda")
        self._primary()
        later = [name for name in self.baselines.clinical if name in self.known_after_imaging]
        if later:
            raise ValueError(f"the clinical baseline lists {', '.join(later)}, which is known only after imaging")
        chosen = self.primary.classifier
        if chosen is not None and chosen not in [member.method for member in self.classifiers]:
            raise ValueError(f"the primary contrast names the classifier {chosen!r}, which is not among classifiers")
        return self

    def arms(self, table: FeatureTable) -> list[Arm]:
        """Give the arms that this table allows: single, image, early, intermediate, late, baseline."""
        against = self.primary.against
        if against is not None and against not in table.single:
            raise ConfigError(
                f"train.primary.against names {against!r}; the table's modalities are {', '.join(table.single)}",
                hint="Name a measured modality of this study.",
            )
        arms = [self._alone("single", modality, member) for modality in table.single for member in self.classifiers]
        if self.images:
            arms += [self._alone("image", fused, member) for fused in table.fused for member in self.classifiers]
        joined = tuple(table.modalities if self.with_fused else table.single)
        for strategy in self.fusions:
            modalities = joined if strategy.joins else tuple(table.fused)
            if len(modalities) > 1:
                arms += self._joined(strategy, modalities)
        for baseline in self.baselines.of(table):
            arms.append(
                Arm(
                    f"baseline-{baseline.name}", "baseline", baseline.modalities, "logistic",
                    self.imputation, self.selection, self.seed, Logistic(l1_ratio=0.0), baseline=baseline,
                )
            )  # fmt: skip
        if not arms:
            raise ConfigError(
                f"nothing to train: the table's modalities are {', '.join(table.modalities) or 'none'}",
                hint="Feature columns are named {modality}.{feature}.",
            )
        return arms

    def pipeline(self, arm: Arm, table_columns: Sequence[str], harmonizer: Any) -> Any:
        """Make the arm's unfitted scikit-learn pipeline; see `Arm.pipeline`."""
        return arm.pipeline(table_columns, harmonizer)

    def run_arm(self, arm: Arm, table: FeatureTable, splits: pd.DataFrame, harmonizer: Any) -> ArmResult:
        """Run one arm through the folds; see `radfuse.train.evaluation.run_arm`."""
        return run_arm(arm, table, splits, harmonizer)

    def score(self, predictions: Predictions) -> pd.DataFrame:
        """Give the table of AUCs; see `radfuse.train.scores.score_table`."""
        return score_table(predictions, self._resampled(predictions))

    def tables(self, predictions: Predictions, evidence: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
        """Give everything else that the scores say, a table by name.

        Parameters
        ----------
        evidence : of `ArmResult`, the arms' rows stacked.
        """
        found = {}
        if WITHHELD in evidence:
            found[WITHHELD] = withheld_table(evidence[WITHHELD], self._resampled(predictions))
        return found

    def contrast(self, predictions: Predictions) -> dict[str, Any] | None:
        """Test the comparison declared in ``primary``; None when one of its two arms was not run."""
        singles = predictions.rows[predictions.rows["fusion"] == "single"]["modalities"]
        if singles.empty:
            return None
        classifier = self.primary.classifier or self.classifiers[0].method
        against = f"single-{self.primary.against or singles.iloc[0]}-{classifier}"
        arm = self._name(self._primary(), classifier)
        if not {arm, against} <= set(predictions.arms):
            return None
        return compare(predictions, arm, against, self._resampled(predictions))

    def _resampled(self, predictions: Predictions) -> Bootstrap:
        return Bootstrap(predictions, self.bootstrap, self.confidence, self.seed)

    def _alone(self, fusion: str, modality: str, member: Classifier) -> Arm:
        # One probability has nothing to be averaged with, so calibration could not change its order.
        strategy = Late(calibrate_from=None)
        return Arm(
            f"{fusion}-{modality}-{member.method}", fusion, (modality,), member.method,
            self.imputation, self.selection, self.seed, member, strategy, stability=self.stability,
        )  # fmt: skip

    def _joined(self, strategy: FusionStrategy, modalities: tuple[str, ...]) -> list[Arm]:
        strategy.check(modalities)
        choices: tuple[Classifier | None, ...] = self.classifiers if strategy.classified else (None,)
        return [
            Arm(
                self._name(strategy, NETWORK if member is None else member.method), strategy.method, modalities,
                NETWORK if member is None else member.method,
                self.imputation, self.selection, self.seed, member, strategy, stability=self.stability,
            )
            for member in choices
        ]  # fmt: skip

    def _primary(self) -> FusionStrategy:
        """Give the fusion level that is put to the test; it need not be trained in this study."""
        wanted, titles = self.primary.fusion, [member.title for member in self.fusions]
        named = [member for member in self.fusions if member.title == wanted]
        named = named or [member for member in self.fusions if member.method == wanted]
        if len(named) == 1:
            return named[0]
        if named or wanted not in FusionStrategy.members():
            close = get_close_matches(wanted, [*titles, *FusionStrategy.members()], n=1)
            meant = f"; did you mean {close[0]!r}?" if close and not named else ";"
            raise ValueError(f"primary.fusion names {wanted!r}{meant} the fusion levels are {', '.join(titles)}")
        return FusionStrategy.choose(wanted)

    @staticmethod
    def _name(strategy: FusionStrategy, classifier: str) -> str:
        return f"{strategy.title}-{classifier}" if strategy.classified else strategy.title
