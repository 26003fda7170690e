"""Keep the features that beat chance in a random forest."""

from typing import Any, Literal, final

from pydantic import Field, NonNegativeInt, PositiveInt

from radfuse.train.selection import Selection


@final
class Boruta(Selection):
    """Features whose importance in a random forest beats that of shuffled copies, round after round.

    Kursa & Rudnicki 2010 [doi:10.18637/jss.v036.i11]: in each round every feature is joined by a shuffled copy of one,
    its shadow; a feature that is more important than the best shadow scores a hit. Hits are tested against a fair coin,
    two-sided, corrected for the number of features. Confirmed features come first, then undecided ones, each by
    their hits; rejected ones never, unless nothing is left: then the best one alone, since a model needs a feature.

    Unlike theirs, a rejected feature stays among the others to the last round, and the rounds are few: of a thousand
    features one is confirmed in 20 rounds if it missed one round at most. Slow: a forest of twice the features in every
    round, fold and modality; ``clusters`` thins first.
    """

    method: Literal["boruta"] = "boruta"
    rounds: PositiveInt = Field(20, description="Forests that are grown, each with new shadows.")
    trees: PositiveInt = Field(100, description="Trees of a forest.")
    depth: PositiveInt = Field(5, description="Deepest tree.")
    level: float = Field(0.05, gt=0.0, lt=1.0, description="Share of features wrongly confirmed or rejected, at most.")
    seed: NonNegativeInt = Field(0, description="Decides the shadows and the forests.")
    events_per_feature: PositiveInt = Field(
        5, description="Training patients of the rarer class per selected feature; 10 is the cautious rule."
    )
    most: PositiveInt = Field(10, description="Most features a model gets, however many events there are.")

    def build(self) -> Any:
        """Make the selector."""
        from radfuse.train.steps.selector import Selector
        from radfuse.train.steps.shadows import Shadows

        ranking = Shadows(self.rounds, self.trees, self.depth, self.level, self.seed)
        return Selector(ranking, self.correlation, self.events_per_feature, self.most, self.thinning)
