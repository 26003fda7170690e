"""Fusion strategies: at which level the modalities meet."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from radfuse.component import Component


class FusionStrategy(Component):
    """A scikit-learn classifier over the columns of several modalities."""

    classified: ClassVar[bool] = True
    """Whether the strategy is built around a classifier of its own choosing; the network is its own."""

    joins: ClassVar[bool] = True
    """Whether it joins the measured modalities; one that does not looks at the fused images instead."""

    @property
    def level(self) -> str:
        """Its fusion level, one of `radfuse.data.predictions.FUSIONS`; most members are one of their own."""
        return str(self.method)

    @property
    def taught(self) -> tuple[str, ...]:
        """Subject columns that training looks at as further targets, and prediction never."""
        return ()

    @property
    def probabilistic(self) -> bool:
        """Whether what it gives is meant as a probability, and not only as an order of the patients."""
        return True

    @property
    def recalibrates(self) -> bool:
        """Whether its probabilities are learned from the outcomes as they are, so that a balanced classifier may do."""
        return False

    @property
    def title(self) -> str:
        """The name of its arms; a member with several settings worth comparing tells them apart here."""
        return str(self.method)

    def differing(self, *settings: str) -> list[str]:
        """Say the settings that are not their defaults, for a title: ``components5``, ``featuresall``."""
        fields = type(self).model_fields
        given = {name: getattr(self, name) for name in settings}
        changed = {name: value for name, value in given.items() if value != fields[name].default}
        return [f"{name}{'all' if value is None else value}" for name, value in changed.items()]

    def check(self, modalities: Sequence[str]) -> None:
        """Refuse settings that do not fit the modalities, before anything is trained."""
        return

    @abstractmethod
    def build(self, modalities: Sequence[str], selector: Any, classifier: Any, seed: int) -> Any:
        """Make an unfitted classifier over scaled rows (a data frame with ``@missing.<modality>`` flags).

        Parameters
        ----------
        modalities : the prefixes whose columns take part.
        selector : an unfitted `radfuse.train.steps.selector.Selector`.
        classifier : an unfitted scikit-learn classifier; None for a strategy that is its own.
        seed : decides everything random that the strategy itself does.
        """
