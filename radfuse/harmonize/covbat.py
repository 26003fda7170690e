"""CovBat: ComBat, and after it the same for how features vary together."""

from typing import Any, Literal

from pydantic import Field, PositiveInt

from radfuse.harmonize import Harmonizer, settings


class CovBat(Harmonizer):
    """Shift, scale and covariance per batch [Chen 2022, Human Brain Mapping 43:1179].

    ComBat first; then the principal components of what is left (each feature brought to variance 1) that hold most of
    its variance get ComBat without empirical Bayes. Covariances need many rows: with fewer than ``least_rows`` in
    training (its authors had hundreds; the default is a round number of ours, not a published limit) the method says
    so and is ComBat alone, or stops.
    """

    method: Literal["covbat"] = "covbat"
    protect: settings.Protect = ()
    variance: float = Field(
        0.95, gt=0, lt=1, description="Share of the residual variance in the components harmonised."
    )
    least_rows: PositiveInt = Field(
        100, description="Training rows with a fitted batch below which a covariance is not harmonised."
    )
    too_few: Literal["combat", "refuse"] = Field(
        "combat", description="Fewer rows than that: ComBat alone, flagged; or stop."
    )
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

    def build(self) -> Any:
        """Make the transformer."""
        from radfuse.harmonize.transformer import CombatTransformer

        return CombatTransformer(**self.model_dump(exclude={"method"}))
