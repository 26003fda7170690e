"""How missing feature values are filled."""

from typing import Any

from pydantic import Field

from radfuse.component import Frozen


class Imputation(Frozen):
    """Medians of the training rows; a column that is mostly missing is left out."""

    most_missing: float = Field(
        0.5, ge=0.0, le=1.0, description="Largest share of missing values among training rows with the modality."
    )

    def build(self) -> Any:
        """Make an unfitted `radfuse.train.steps.imputer.Imputer`."""
        from radfuse.train.steps.imputer import Imputer

        return Imputer(self.most_missing)
