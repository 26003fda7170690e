"""Which features are steady enough to be trained on."""

from typing import Any, Literal

from pydantic import Field

from radfuse.component import Frozen
from radfuse.data.repeatability import Kind


class StabilityFilter(Frozen):
    """Keep the features that agree with themselves over the perturbed measurements of the training subjects.

    The outcome plays no part, and neither do validation rows: each fold computes the agreement anew.
    """

    icc: float = Field(0.75, gt=-1.0, le=1.0, description="Least intraclass correlation of a feature that is kept.")
    by: Literal["low", "estimate"] = Field(
        "low", description="What must reach it: the lower end of the confidence interval, or the estimate itself."
    )
    kind: Kind = Field("2,1", description="`2,1` absolute agreement, `3,1` consistency, `1,1` one-way.")
    confidence: float = Field(0.95, gt=0.5, lt=1.0, description="Coverage of the interval.")

    def build(self) -> Any:
        """Make an unfitted `radfuse.train.steps.stable.Stable`."""
        from radfuse.train.steps.stable import Stable

        return Stable(self.icc, self.by, self.kind, self.confidence)
