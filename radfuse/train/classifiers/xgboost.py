"""Boosted trees."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, final

from pydantic import Field, PositiveFloat, PositiveInt

from radfuse.train.classifiers import Classifier


@final
class XGBoost(Classifier):
    """Gradient-boosted trees over histograms [Chen & Guestrin 2016, doi:10.1145/2939672.2939785].

    Tuned: the depth, which is how many features act together, and the weight of each tree, which with a fixed number
    of trees is how closely the whole follows the training rows. Balanced: ``scale_pos_weight``.
    """

    grid: ClassVar[Mapping[str, tuple[Any, ...]]] = {"depth": (1, 2, 3), "learning_rate": (0.03, 0.1)}

    method: Literal["xgboost"] = "xgboost"
    trees: PositiveInt = Field(100, description="Boosting rounds.")
    depth: PositiveInt = Field(2, description="Deepest tree; 2 allows pairs of features to act together.")
    learning_rate: PositiveFloat = Field(0.1, description="Weight of each new tree.")
    row_share: float = Field(0.8, gt=0.0, le=1.0, description="Share of the patients that each tree sees.")

    def build(self, seed: int) -> Any:
        """Make the XGBoost estimator."""
        from xgboost import XGBClassifier

        from radfuse.train.steps.balanced import Balanced

        trees = XGBClassifier(
            n_estimators=self.trees,
            max_depth=self.depth,
            learning_rate=self.learning_rate,
            subsample=self.row_share,
            tree_method="hist",
            random_state=seed,
            n_jobs=1,
            verbosity=0,
        )
        return Balanced(trees) if self.class_weight == "balanced" else trees
