"""Combinations: how late fusion makes one decision of several."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from radfuse.component import Component


class Combination(Component):
    """Turn one probability per modality into one probability."""

    learns: ClassVar[bool] = False
    """Whether it is fitted to inner out-of-fold probabilities of the training rows."""

    probabilistic: ClassVar[bool] = True
    """Whether what it gives is meant as a probability; votes and rules only order the patients."""

    recalibrates: ClassVar[bool] = False
    """Whether it learns from the outcomes what its probabilities mean, whatever those of the modalities mean."""

    @abstractmethod
    def build(self, modalities: Sequence[str]) -> Any:
        """Make an unfitted combiner, see `radfuse.train.steps.combiners`.

        Parameters
        ----------
        modalities : the modalities, in the order of the columns of probabilities.
        """
