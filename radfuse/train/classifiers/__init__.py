"""Classifiers: what turns the selected features into a probability."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from radfuse.component import Component
from radfuse.train.tuning import Grid, candidates, named

TUNED, BALANCED = "tuned", "balanced"


class Classifier(Component):
    """A binary classifier over standardised features.

    A tuned classifier is fitted with each of its candidates in ten inner folds, so that a grid of twelve costs a
    hundred and twenty fits where the plain one costs one; see `radfuse.train.steps.tuned`.

    A balanced classifier answers as if both outcomes were equally common: its probabilities of the rarer outcome are
    too high, so that they are no risks (Brier score and calibration suffer), while the order of the patients, and with
    it the AUC, changes little [van den Goorbergh et al. 2022, doi:10.1093/jamia/ocac093]. A member that learns its
    probabilities afterwards, from the outcomes as they are, says so by ``probabilistic``.
    """

    grid: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    """What ``tune: true`` tries, by setting, the most cautious value first: of equals the first wins."""

    class_weight: Literal["none", "balanced"] = Field(
        "none", description="balanced: the rarer outcome's patients count for more; probabilities are then no risks."
    )
    tune: bool | dict[str, tuple[Any, ...]] = Field(
        False, description="Choose settings by inner folds of the training rows; a mapping gives the values to try."
    )

    @model_validator(mode="after")
    def _settings_to_try(self) -> Self:
        if self.tune is not False:
            tried = self.candidates()
            if len(tried) < 2:
                raise ValueError(f"tune leaves {self.method} {len(tried)} setting to choose from; name more values")
        return self

    @property
    def title(self) -> str:
        """The name of its arms; a tuned or balanced classifier says so, and may run beside the plain one."""
        weighted = self.class_weight == "balanced"
        return "_".join([self.method, *([BALANCED] if weighted else []), *([TUNED] if self.tune is not False else [])])

    @property
    def probabilistic(self) -> bool:
        """Whether its scores are meant as risks, whichever of its candidates is chosen."""
        return all(member.class_weight == "none" for member in self.candidates())

    def candidates(self) -> list[Self]:
        """The members that tuning chooses from, in the order of the grid; without tuning itself alone."""
        if self.tune is False:
            return [self]
        return candidates(self, self._grid)

    def tried(self) -> list[dict[str, Any]]:
        """The settings in which the candidates differ, candidate by candidate."""
        return [named(member, self._grid) for member in self.candidates()]

    @abstractmethod
    def build(self, seed: int) -> Any:
        """Make an unfitted scikit-learn classifier that uses one thread and whose randomness is the seed's.

        It has ``fit(X, y)`` and ``predict_proba(X)`` over float arrays without missing values. Tuning is not its
        business: each of ``candidates`` is built by itself.
        """

    @property
    def _grid(self) -> Grid:
        return self.tune if isinstance(self.tune, dict) else self.grid
