"""Joins: how the intermediate network makes one representation of the modalities' encodings."""

from abc import abstractmethod
from typing import Any

from radfuse.component import Component


class Join(Component):
    """Turn one encoding per modality into one vector."""

    @abstractmethod
    def build(self, units: int) -> Any:
        """Make a joiner, see `radfuse.train.steps.joiners`.

        Parameters
        ----------
        units : length of the vector.
        """
