"""A forest of randomised trees."""

from typing import Any, Literal, final

from pydantic import Field, PositiveInt

from radfuse.train.classifiers import Classifier


@final
class RandomForest(Classifier):
    """Average of trees grown on bootstrap samples [Breiman 2001, doi:10.1023/A:1010933404324]."""

    method: Literal["random_forest"] = "random_forest"
    trees: PositiveInt = Field(200, description="Number of trees.")
    smallest_leaf: PositiveInt = Field(2, description="Fewest patients in a leaf.")

    def build(self, seed: int) -> Any:
        """Make the scikit-learn estimator."""
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(
            n_estimators=self.trees, min_samples_leaf=self.smallest_leaf, random_state=seed, n_jobs=1
        )
