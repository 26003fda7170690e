"""Z-score per batch: every batch to one mean and one spread."""

from typing import Any, Literal

from pydantic import Field

from radfuse.harmonize import Harmonizer, settings


class ZScore(Harmonizer):
    """Subtract each batch's mean and divide by its standard deviation (n - 1), feature by feature.

    The result is given in the features' own units: the common mean, plus the z-score times the spread within batches.
    A row that is left as it is (its batch is new, or has one row) is then comparable to the others; the scaler that
    follows makes z-scores of all. It keeps no covariate: where age goes with the scanner, its effect is removed too.
    """

    method: Literal["zscore"] = "zscore"
    merge: settings.Merge = Field({})
    single: settings.Single = "pass"
    small: settings.Small = "mean_only"
    small_below: settings.SmallBelow = 5
    flag_below: settings.FlagBelow = 10
    unseen: settings.Unseen = "pass"

    def build(self) -> Any:
        """Make the transformer: ComBat without covariates and without empirical Bayes is a z-score per batch."""
        from radfuse.harmonize.transformer import CombatTransformer

        return CombatTransformer(**self.model_dump(exclude={"method"}), empirical_bayes=False)
