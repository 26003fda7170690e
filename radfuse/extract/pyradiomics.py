"""PyRadiomics itself, number for number."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, PositiveInt

from radfuse.extract.extractor import Extractor, Measure


class PyRadiomics(Extractor):
    """Run PyRadiomics as its command line would [van Griethuysen et al. 2017, doi:10.1158/0008-5472.CAN-17-0339]."""

    method: Literal["pyradiomics"] = "pyradiomics"
    max_bins: PositiveInt = Field(
        1000,
        description="Refuse a region that the bin width would cut into more grey levels: texture would take hours.",
    )

    def build(self, parameters: Mapping[str, Any], device: str = "cpu") -> Measure:
        """Give the function that measures a volume with these parameters."""
        from radfuse.extract.measurement import PyRadiomicsMeasure

        return PyRadiomicsMeasure(parameters, self.max_bins)
