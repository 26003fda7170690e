"""Intermediate fusion: an encoder per modality, joined inside one network."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, final

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from radfuse.train.auxiliary import Auxiliary
from radfuse.train.fusion import FusionStrategy
from radfuse.train.joins import Join
from radfuse.train.joins.concatenate import Concatenate


@final
class Intermediate(FusionStrategy):
    """A small network over the selected features of each modality, averaged over several fits.

    Each fit holds out its own part of the training rows; the epoch is the one at which all fits together predict
    their held-out rows best.
    """

    classified: ClassVar[bool] = False

    method: Literal["intermediate"] = "intermediate"
    join: Join = Field(Concatenate(), description="How the encodings are joined: concatenate, gated, attention.")
    features: PositiveInt = Field(12, le=32, description="Most features of a modality that enter its encoder.")
    width: PositiveInt = Field(16, description="Numbers that an encoder gives.")
    joint: PositiveInt = Field(8, description="Units of the layer that joins the modalities.")
    dropout: float = Field(0.3, ge=0.0, lt=1.0, description="Share of an encoder's numbers hidden in training.")
    modality_dropout: float = Field(0.2, ge=0.0, lt=1.0, description="How often a modality is hidden in training.")
    weight_decay: NonNegativeFloat = Field(0.01, description="Decoupled weight decay of AdamW.")
    learning_rate: PositiveFloat = Field(0.01, description="Step of AdamW.")
    epochs: PositiveInt = Field(150, description="Most passes over the training rows.")
    patience: PositiveInt = Field(30, description="Passes without a better held-out loss before stopping.")
    fits: PositiveInt = Field(5, description="Fits that are averaged.")
    auxiliary: Auxiliary = Field(
        Auxiliary(), description="Facts that are learned beside the outcome: `{columns: [grade], weight: 0.5}`."
    )

    @property
    def title(self) -> str:
        """The name of its arm; plain concatenation, which is the default, goes without its name."""
        join = [] if isinstance(self.join, Concatenate) else [self.join.method]
        return "_".join([self.method, *join, *(["auxiliary"] if self.taught else [])])

    @property
    def taught(self) -> tuple[str, ...]:
        """The auxiliary targets."""
        return tuple(dict.fromkeys(self.auxiliary.columns))

    def build(self, modalities: Sequence[str], selector: Any, classifier: Any, seed: int) -> Any:
        """Make the estimator."""
        from radfuse.train.steps.network import Network

        settings = self.model_dump(exclude={"method", "join", "joint", "auxiliary"})
        return Network(
            list(modalities),
            selector,
            self.join.build(self.joint),
            auxiliary=self.taught,
            auxiliary_weight=self.auxiliary.weight,
            seed=seed,
            **settings,
        )
