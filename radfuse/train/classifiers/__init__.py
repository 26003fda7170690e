"""Classifiers: what turns the selected features into a probability."""

from abc import abstractmethod
from typing import Any

from radfuse.component import Component


class Classifier(Component):
    """A binary classifier over standardised features."""

    @abstractmethod
    def build(self, seed: int) -> Any:
        """Make an unfitted scikit-learn classifier that uses one thread and whose randomness is the seed's.

        It has ``fit(X, y)`` and ``predict_proba(X)`` over float arrays without missing values.
        """
