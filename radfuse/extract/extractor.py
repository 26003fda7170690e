"""The family of feature extractors: an image and its region in, named numbers out."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from radfuse.component import Component
from radfuse.data.volume import Mask, Volume


@dataclass(frozen=True)
class Measured:
    """What an extractor found in one volume.

    Parameters
    ----------
    values : by PyRadiomics' name, such as ``original_glcm_Contrast``; NaN where there is no value. The names
        follow from the parameters alone, so that every subject has the same.
    diagnostics : ``diagnostics_*``, as text.
    problems : by name, why a value is NaN.
    """

    values: Mapping[str, float]
    diagnostics: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


Measure = Callable[[Volume, Mask], Measured]


class Extractor(Component):
    """Measure features as a PyRadiomics parameter file asks."""

    def faults(self, parameters: Mapping[str, Any]) -> list[str]:
        """Say what this extractor refuses in parameters that PyRadiomics takes; empty when nothing."""
        return []

    @abstractmethod
    def build(self, parameters: Mapping[str, Any], device: str = "cpu") -> Measure:
        """Give the function that measures a volume inside its mask; both share a grid.

        Parameters
        ----------
        parameters : the contents of a PyRadiomics parameter file, already found valid.
        device : ``cpu`` or ``cuda``, for an extractor that can use it; no number depends on it.
        """
