"""ComBat: remove each scanner's shift and scale, borrowing strength across features."""

from typing import Any, Literal

from pydantic import Field, model_validator

from radfuse.harmonize import Harmonizer, settings


class ComBat(Harmonizer):
    """Location and scale per batch with empirical Bayes [Johnson 2007, Biostatistics 8:118; Fortin 2018].

    One model per modality, with that modality's own batch column; a modality without one is left as it is.
    """

    method: Literal["combat"] = "combat"
    protect: settings.Protect = ()
    empirical_bayes: settings.EmpiricalBayes = True
    mean_only: bool = Field(False, description="Remove the shift of every batch and leave its scale.")
    reference_batch: settings.ReferenceBatch = None
    merge: settings.Merge = Field({})
    single: settings.Single = "pass"
    small: settings.Small = "mean_only"
    small_below: settings.SmallBelow = 5
    flag_below: settings.FlagBelow = 10
    unseen: settings.Unseen = "pass"
    unseen_level: settings.UnseenLevel = "mode"
    confounded: settings.Confounded = "pass"
    tolerance: settings.Tolerance = 1e-4
    backend: Literal["radfuse", "neurocombat"] = Field(
        "radfuse",
        description="Who fits: radfuse, or the neuroCombat package (no reference; small batches fitted as large).",
    )

    @model_validator(mode="after")
    def _backend_can(self) -> "ComBat":
        if self.backend == "neurocombat" and self.reference_batch:
            raise ValueError("backend neurocombat 0.2.12 fails with a reference batch; use backend radfuse")
        return self

    def build(self) -> Any:
        """Make the transformer."""
        from radfuse.harmonize.transformer import CombatTransformer

        return CombatTransformer(**self.model_dump(exclude={"method"}))
