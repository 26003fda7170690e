"""ComBat-GAM: ComBat that keeps curved effects of age and the like."""

from typing import Any, Literal

from pydantic import Field, model_validator

from radfuse.harmonize import Harmonizer, settings


class CombatGAM(Harmonizer):
    """ComBat in which the effect of continuous covariates is a smooth curve [Pomponio 2020, NeuroImage 208:116450].

    The curve is a natural cubic spline with a few knots at quantiles of the training rows [Harrell 2015, Regression
    Modeling Strategies, sections 2.4.5 and 2.4.6]: straight beyond the outer knots, so that a patient older than all
    in training gets no wild value. It is fitted by least squares, without the penalty of neuroHarmonize.
    """

    method: Literal["combat_gam"] = "combat_gam"
    protect: settings.Protect = ()
    smooth: tuple[str, ...] | None = Field(
        None, description="Protected covariates with a curve; default: every one that is a number and not a code."
    )
    knots: int = Field(4, ge=3, le=7, description="Knots of each curve; it then has one column fewer.")
    empirical_bayes: settings.EmpiricalBayes = True
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

    @model_validator(mode="after")
    def _smooth_is_protected(self) -> "CombatGAM":
        strange = sorted(set(self.smooth or ()) - set(self.protect))
        if strange:
            raise ValueError(f"smooth names {', '.join(strange)}, which protect lacks")
        return self

    def build(self) -> Any:
        """Make the transformer."""
        from radfuse.harmonize.transformer import CombatTransformer

        given = self.model_dump(exclude={"method", "smooth"})
        return CombatTransformer(**given, smooth=self.protect if self.smooth is None else self.smooth)
