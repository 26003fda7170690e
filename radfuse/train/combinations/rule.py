"""A rule that the user writes."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, final

from pydantic import Field, field_validator

from radfuse.errors import ConfigError
from radfuse.train.combinations import Combination
from radfuse.train.combinations.expression import modalities_in, parse


@final
class Rule(Combination):
    """Decide by logic, such as ``PET > 0.5 and MR > 0.5 and not CT > 0.9``.

    Each comparison has a margin, the distance of the probability's log odds from the threshold's; `and` takes the
    least margin, `or` the greatest, `not` turns it around. The margin ranks the subjects, and the rule holds where it
    is above 0, that is where the probability given is above 1/2. A comparison of a modality that a subject lacks is
    left out of its `and` or `or`.
    """

    probabilistic: ClassVar[bool] = False

    method: Literal["rule"] = "rule"
    when: str = Field("", description="Comparisons of modalities with probabilities, joined by and, or, not.")

    @field_validator("when")
    @classmethod
    def _parsed(cls, when: str) -> str:
        if when:
            parse(when)
        return when

    def build(self, modalities: Sequence[str]) -> Any:
        """Make the combiner."""
        from radfuse.train.steps.combiners import Margin

        if not self.when:
            raise ConfigError(
                "late fusion by rule has no rule", hint='Write one: combine: {method: rule, when: "PET > 0.5"}.'
            )
        unknown = [name for name in modalities_in(self.when) if name not in modalities]
        if unknown:
            raise ConfigError(
                f"the rule {self.when!r} names {', '.join(unknown)}; the modalities are {', '.join(modalities)}",
                hint="Compare the modalities of this study.",
            )
        return Margin(self.when, list(modalities))
