"""The train stage: which models are compared, in which folds, and how they are judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, ClassVar, Self

import pandas as pd
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from radfuse.component import Frozen, Stage
from radfuse.data.names import is_fused
from radfuse.data.predictions import Predictions
from radfuse.data.table import FeatureTable
from radfuse.errors import ConfigError
from radfuse.train.arms import Arm
from radfuse.train.baselines import LATER, Baselines
from radfuse.train.classifiers import Classifier
from radfuse.train.classifiers.logistic import Logistic
from radfuse.train.clinical import CLINICAL, refuse_later, require_facts
from radfuse.train.evaluation import ArmResult, run_arm
from radfuse.train.explanation import (
    IMPORTANCE,
    MODALITIES,
    WEIGHTS,
    Explain,
    importance_table,
    modality_table,
    weights_table,
)
from radfuse.train.fusion import FusionStrategy
from radfuse.train.fusion.early import Early
from radfuse.train.fusion.intermediate import Intermediate
from radfuse.train.fusion.late import Late
from radfuse.train.imputation import Imputation
from radfuse.train.judgement import judgement_tables, no_probabilities
from radfuse.train.operating import Operating
from radfuse.train.scores import Bootstrap, compare, score_table
from radfuse.train.selection import Selection
from radfuse.train.selection.anova import Anova
from radfuse.train.selection_stability import CHOSEN, SELECTION, STABILITY, selection_table, stability_table
from radfuse.train.sites import SITES, TOGETHER, sites_table, together_table
from radfuse.train.splits import Splits
from radfuse.train.splits.stratified import Stratified
from radfuse.train.stability import StabilityFilter
from radfuse.train.tuning import TUNING, tuning_table
from radfuse.train.withheld import WITHHELD, withheld_table

__all__ = ["Arm", "ArmResult", "Primary", "Train"]

NETWORK = "network"
JOINED = ("early", "intermediate", "late")


class Primary(Frozen):
    """The one comparison declared before the run; everything else in the table is exploration."""

    fusion: str = Field("early", description="The fusion level that is put to the test.")
    against: str | None = Field(None, description="The modality it must beat; by default the first one.")
    classifier: str | None = Field(None, description="The classifier of both; by default the first one.")


class Train(Stage):
    """Train every arm in the same folds, and compare them."""

    name: ClassVar[str] = "train"
    version: ClassVar[int] = 5

    fusions: tuple[FusionStrategy, ...] = Field(
        (Early(), Intermediate(), Late()), description="Fusion levels: early, intermediate, pls, pca, late, chosen."
    )
    classifiers: tuple[Classifier, ...] = Field(
        (Logistic(),),
        description="logistic, random_forest, xgboost, svm, lda; `{method: svm, tune: true}` is tuned in inner folds.",
    )
    stability: StabilityFilter | None = Field(
        None, description="Which features are steady enough to be used, by `radfuse stability`; null: all of them."
    )
    imputation: Imputation = Field(Imputation(), description="How missing values are filled.")
    selection: Selection = Field(Anova(), description="How features are chosen, in each fold.")
    splits: Splits = Field(
        Stratified(),
        description="The folds; called with a table, draws them: stratified (meant where no method is named), or "
        "leave_one_site_out.",
    )
    baselines: Baselines = Field(Baselines(), description="Simple models in the same folds.")
    known_after_imaging: tuple[str, ...] = Field((), description="Subject columns that no model may ever use.")
    clinical_modality: tuple[str, ...] = Field(
        (), description="Subject columns known at imaging time that join the fusion levels as a modality, `clinical`."
    )
    images: bool = Field(True, description="Whether each fused image is an arm of its own.")
    with_fused: bool = Field(False, description="Whether fused images join early, intermediate and late fusion too.")
    primary: Primary = Field(Primary(), description="The comparison declared before the run.")
    explain: Explain | None = Field(
        Explain(), description="What the arms lean on: permutation importance and SHAP; null: not asked."
    )
    operating: Operating | None = Field(
        Operating(), description="Thresholds chosen on training rows, and what they give; null: none, and fewer fits."
    )
    bootstrap: PositiveInt = Field(2000, description="Resamples of the patients behind every interval.")
    confidence: float = Field(0.95, gt=0.5, lt=1.0, description="Coverage of the intervals.")
    seed: NonNegativeInt = Field(0, description="Decides everything random in the models and the resamples.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for what, names in (
            ("classifiers", [member.title for member in self.classifiers]),
            ("fusions", [member.title for member in self.fusions]),
        ):
            twice = [name for name, count in Counter(names).items() if count > 1]
            if twice:
                raise ValueError(f"{what} names {', '.join(twice)} twice; two arms would share a name")
        if not self.classifiers:
            raise ValueError("name at least one classifier: logistic, random_forest, xgboost, svm or lda")
        self._primary()
        barred = [name for name in self.taught if name in self.known_after_imaging]
        if barred:
            raise ValueError(f"an auxiliary target is {', '.join(barred)}, which known_after_imaging bars from models")
        later = [name for name in self.baselines.clinical if name in self.known_after_imaging]
        if later:
            raise ValueError(f"the clinical baseline lists {', '.join(later)}, which is known only after imaging")
        refuse_later(self.clinical_modality, LATER, self.baselines.known_before_imaging)
        later = [name for name in self.clinical_modality if name in self.known_after_imaging]
        if later:
            raise ValueError(f"clinical_modality lists {', '.join(later)}, which is known only after imaging")
        chosen = self.primary.classifier
        if chosen is not None and chosen not in [member.title for member in self.classifiers]:
            raise ValueError(f"the primary contrast names the classifier {chosen!r}, which is not among classifiers")
        return self

    @property
    def taught(self) -> tuple[str, ...]:
        """Subject columns that some fusion level learns beside the outcome."""
        return tuple(dict.fromkeys(name for member in self.fusions for name in member.taught))

    def arms(self, table: FeatureTable) -> list[Arm]:
        """Give the arms that this table allows: single, image, early, intermediate, late, baseline."""
        against = self.primary.against
        if against is not None and against not in table.single:
            raise ConfigError(
                f"train.primary.against names {against!r}; the table's modalities are {', '.join(table.single)}",
                hint="Name a measured modality of this study.",
            )
        unknown = [name for name in self.taught if name not in table.covariates]
        if unknown:
            raise ConfigError(
                f"an auxiliary target is {', '.join(unknown)}, not among the subjects' columns "
                f"({', '.join(table.covariates) or 'none'})",
                hint="Name columns of the clinical table; outcome, group and batch columns cannot be targets.",
            )
        own = [CLINICAL] if self.clinical_modality else []
        require_facts(self.clinical_modality, table)
        measured = [*table.single, *own]
        arms = [self._alone("single", modality, member) for modality in measured for member in self.classifiers]
        if self.images:
            arms += [self._alone("image", fused, member) for fused in table.fused for member in self.classifiers]
        joined = (*(table.modalities if self.with_fused else table.single), *own)
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
        return self._with_questions(arms)

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
        found, bootstrap = {}, self._resampled(predictions)
        if WITHHELD in evidence:
            found[WITHHELD] = withheld_table(evidence[WITHHELD], bootstrap)
        if CHOSEN in evidence:
            found[SELECTION] = selection_table(evidence[CHOSEN], predictions.rows)
            found[STABILITY] = stability_table(evidence[CHOSEN], predictions.rows, self.confidence)
        if IMPORTANCE in evidence:
            found[IMPORTANCE] = importance_table(evidence[IMPORTANCE])
            found[MODALITIES] = modality_table(evidence[IMPORTANCE])
        if WEIGHTS in evidence:
            found[WEIGHTS] = weights_table(evidence[WEIGHTS])
        if TUNING in evidence:
            found[TUNING] = tuning_table(evidence[TUNING])
        if SITES in evidence:
            found[SITES] = sites_table(evidence[SITES], predictions, self.confidence)
            found[TOGETHER] = together_table(found[SITES])
        judged = judgement_tables(
            predictions, evidence, bootstrap, declared=self._declared(predictions),
            classifier=self.declared_classifier, unsure=no_probabilities(predictions, self.fusions, self.classifiers),
            operating=self.operating,
        )  # fmt: skip
        return found | judged

    def contrast(self, predictions: Predictions) -> dict[str, Any] | None:
        """Test the comparison declared in ``primary``; None when one of its two arms was not run."""
        arm, against = self._declared(predictions) or ("", "")
        if not {arm, against} <= set(predictions.arms):
            return None
        return compare(predictions, arm, against, self._resampled(predictions))

    def _with_questions(self, arms: list[Arm]) -> list[Arm]:
        """Tell those arms to choose thresholds, and to say what they lean on, that are asked to."""
        first = next((arm.modalities[0] for arm in arms if arm.fusion == "single"), "")
        declared = self.declared(first)

        def asked(question: Operating | Explain | None, arm: Arm) -> bool:
            return question is not None and (question.arms == "all" or arm.name in declared)

        return [
            replace(
                arm,
                operating=self.operating if asked(self.operating, arm) else None,
                explain=self.explain if asked(self.explain, arm) else None,
            )
            for arm in arms
        ]

    def _declared(self, predictions: Predictions) -> tuple[str, ...]:
        """Name the two arms of the primary comparison from what was run; none where no single modality was.

        Arms that could not be trained are not among the predictions: the first modality is that of a joined arm, else
        another one would quietly take its place.
        """
        arms = predictions.rows.drop_duplicates("arm")
        singles = arms.loc[arms["fusion"] == "single", "modalities"]
        if singles.empty:
            return ()
        joined = "+".join(arms.loc[arms["fusion"].isin(JOINED), "modalities"])
        measured = [name for name in joined.split("+") if name and not is_fused(name)]
        return self.declared(next(iter([*measured, *singles])))

    def declared(self, first: str) -> tuple[str, str]:
        """Name the two arms of the primary comparison, whether they were run or not: nothing else decides which.

        Parameters
        ----------
        first : the first measured modality, which is to be beaten where none is declared.
        """
        against = f"single-{self.primary.against or first}-{self.declared_classifier}"
        level = self._primary_level()  # none where a copy of the settings has lost it: then no arm is the declared one
        return self.primary.fusion if level is None else self._name(level, self.declared_classifier), against

    @property
    def declared_classifier(self) -> str:
        """The classifier of both arms of the primary comparison."""
        return self.primary.classifier or self.classifiers[0].title

    def _resampled(self, predictions: Predictions) -> Bootstrap:
        return Bootstrap(predictions, self.bootstrap, self.confidence, self.seed)

    def _alone(self, fusion: str, modality: str, member: Classifier) -> Arm:
        # One probability has nothing to be averaged with, so calibration could not change its order.
        strategy = Late(calibrate_from=None)
        return Arm(
            f"{fusion}-{modality}-{member.title}", fusion, (modality,), member.title,
            self.imputation, self.selection, self.seed, member, strategy, stability=self.stability,
            clinical=self._clinical((modality,)),
        )  # fmt: skip

    def _joined(self, strategy: FusionStrategy, modalities: tuple[str, ...]) -> list[Arm]:
        strategy.check(modalities)
        choices: tuple[Classifier | None, ...] = self.classifiers if strategy.classified else (None,)
        return [
            Arm(
                self._name(strategy, NETWORK if member is None else member.title), strategy.level, modalities,
                NETWORK if member is None else member.title,
                self.imputation, self.selection, self.seed, member, strategy, stability=self.stability,
                clinical=self._clinical(modalities),
            )
            for member in choices
        ]  # fmt: skip

    def _clinical(self, modalities: tuple[str, ...]) -> tuple[str, ...]:
        return self.clinical_modality if CLINICAL in modalities else ()

    def _primary(self) -> FusionStrategy:
        """Give the fusion level that is put to the test, or say what is wrong with its name."""
        level = self._primary_level()
        if level is not None:
            return level
        wanted, titles = self.primary.fusion, [member.title for member in self.fusions]
        several = any(member.method == wanted for member in self.fusions)
        close = get_close_matches(wanted, [*titles, *FusionStrategy.members()], n=1)
        meant = f"; did you mean {close[0]!r}?" if close and not several else ";"
        raise ValueError(f"primary.fusion names {wanted!r}{meant} the fusion levels are {', '.join(titles)}")

    def _primary_level(self) -> FusionStrategy | None:
        """Give the fusion level that is put to the test; it need not be trained in this study. None: no such level."""
        wanted = self.primary.fusion
        named = [member for member in self.fusions if member.title == wanted]
        named = named or [member for member in self.fusions if member.method == wanted]
        if named:
            return named[0] if len(named) == 1 else None
        return FusionStrategy.choose(wanted) if wanted in FusionStrategy.members() else None

    @staticmethod
    def _name(strategy: FusionStrategy, classifier: str) -> str:
        return f"{strategy.title}-{classifier}" if strategy.classified else strategy.title
