"""A forest of randomised trees."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, final

from pydantic import Field, PositiveInt

from radfuse.train.classifiers import Classifier


@final
class RandomForest(Classifier):
    """Average of trees grown on bootstrap samples [Breiman 2001, doi:10.1023/A:1010933404324].

    Tuned: the smallest leaf alone, which is how far a tree may follow single patients. More trees are never worse, and
    of ten selected features the number tried at a split matters little [Probst et al. 2019, doi:10.1002/widm.1301].
    """

    grid: ClassVar[Mapping[str, tuple[Any, ...]]] = {"smallest_leaf": (8, 4, 2, 1)}

    method: Literal["random_forest"] = "random_forest"
    trees: PositiveInt = Field(200, description="Number of trees.")
    smallest_leaf: PositiveInt = Field(2, description="Fewest patients in a leaf.")

    def build(self, seed: int) -> Any:
        """Make the scikit-learn estimator."""
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(
            n_estimators=self.trees,
            min_samples_leaf=self.smallest_leaf,
            class_weight=None if self.class_weight == "none" else self.class_weight,
            random_state=seed,
            n_jobs=1,
        )
