"""ComBat: remove each scanner's shift and scale, borrowing strength across features."""

from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from radfuse.data.table import BATCH, GROUP, OUTCOME
from radfuse.harmonize import Harmonizer


class ComBat(Harmonizer):
    """Location and scale per batch with empirical Bayes [Johnson 2007, Biostatistics 8:118; Fortin 2018].

    One model per modality, with that modality's own batch column; a modality without one is left as it is.
    """

    method: Literal["combat"] = "combat"
    protect: tuple[str, ...] = Field(
        (), description="Covariates whose effect is kept: known before the outcome (age, sex); never the outcome."
    )
    empirical_bayes: bool = Field(True, description="Shrink each batch's shift and scale towards its other features'.")
    mean_only: bool = Field(False, description="Remove the shift of every batch and leave its scale.")
    reference_batch: dict[str, str] | None = Field(
        None, description="By modality, the batch that stays as it is and that the others are brought to."
    )
    merge: dict[str, str] = Field(
        {}, description="Batch labels counted as another; the label `largest` means the largest training batch."
    )
    single: Literal["pass", "largest", "refuse"] = Field(
        "pass", description="A training batch of one row: leave it raw and flag it, merge it into the largest, or stop."
    )
    small: Literal["mean_only", "pass", "largest", "refuse"] = Field(
        "mean_only", description="A training batch of two or more rows, but fewer than small_below."
    )
    small_below: PositiveInt = Field(5, description="Batches with fewer rows are small: their scale is not estimated.")
    flag_below: PositiveInt = Field(10, description="Batches with fewer rows are fitted, and named in the report.")
    unseen: Literal["pass", "largest", "refuse"] = Field(
        "pass",
        description="A new row of a batch not fitted: leave it raw and flag it, count it as the largest, or stop.",
    )
    unseen_level: Literal["mode", "refuse"] = Field(
        "mode", description="A new row with a covariate level that training lacks: use the commonest level, or stop."
    )
    confounded: Literal["pass", "refuse"] = Field(
        "pass",
        description="Covariates that cannot be told from the batches, as small folds have them: leave the modality raw "
        "and flag it, or stop.",
    )
    tolerance: PositiveFloat = Field(1e-4, description="Largest relative change at which the iteration ends.")
    backend: Literal["radfuse", "neurocombat"] = Field(
        "radfuse",
        description="Who fits: radfuse, or the neuroCombat package (no reference; small batches fitted as large).",
    )

    @field_validator("protect")
    @classmethod
    def _only_covariates(cls, protect: tuple[str, ...]) -> tuple[str, ...]:
        for name in protect:
            if name in (OUTCOME, GROUP) or name.startswith(BATCH):
                raise ValueError(f"{name!r} cannot be protected: only covariates known before the outcome can")
        return protect

    @field_validator("merge")
    @classmethod
    def _one_step(cls, merge: dict[str, str]) -> dict[str, str]:
        chained = sorted(set(merge) & set(merge.values()))
        if chained:
            raise ValueError(f"{', '.join(chained)}: merged into another label, and another label is merged into it")
        return merge

    @model_validator(mode="after")
    def _backend_can(self) -> "ComBat":
        if self.backend == "neurocombat" and self.reference_batch:
            raise ValueError("backend neurocombat 0.2.12 fails with a reference batch; use backend radfuse")
        return self

    def build(self) -> Any:
        """Make the transformer."""
        from radfuse.harmonize.transformer import CombatTransformer

        return CombatTransformer(**self.model_dump(exclude={"method"}))
