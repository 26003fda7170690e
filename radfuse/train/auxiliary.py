"""Further targets that a network is taught beside the outcome."""

from typing import Self

from pydantic import Field, PositiveFloat, model_validator

from radfuse.component import Frozen
from radfuse.train.baselines import LATER


class Auxiliary(Frozen):
    """Facts about the training subjects that the joint layer must tell too [Caruana 1997, Machine Learning 28:41].

    They are targets and never inputs: a fit asks only the rows that it trains on for them, and no prediction looks at
    one. So even a fact known only later leaks nothing, but a reader of the model must be told: ``known_later``.
    """

    columns: tuple[str, ...] = Field((), description="Subject columns that are learned beside the outcome.")
    weight: PositiveFloat = Field(0.5, description="Weight of their squared error beside the outcome's log loss.")
    known_later: tuple[str, ...] = Field(
        (), description="Those of them that sound like facts known only after imaging, named again on purpose."
    )

    @model_validator(mode="after")
    def _later_facts_are_meant(self) -> Self:
        for name in self.columns:
            if LATER.search(name) and name not in self.known_later:
                raise ValueError(
                    f"the auxiliary target {name!r} sounds like a fact known only after imaging; it may teach, since "
                    "no prediction looks at it, but add it to known_later to say that this is meant"
                )
        return self
