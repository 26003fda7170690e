"""PyRadiomics' numbers, many times faster."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, PositiveInt

from radfuse.extract.extractor import Extractor, Measure


class Fast(Extractor):
    """Give the columns and the values of PyRadiomics [van Griethuysen et al. 2017, doi:10.1158/0008-5472.CAN-17-0339].

    The filters are the same libraries' on a crop; discretisation, matrices, first order and shape are compiled here,
    each done once. What lies outside of it (2-D shape, a mask on another grid, regions where rounding alone decides)
    PyRadiomics computes itself; ``diagnostics_radfuse_ByPyRadiomics`` says what and why. Along an axis of two voxels
    ITK's spline, and with it PyRadiomics', reads beyond its array when it resamples; here it is mirrored.
    """

    method: Literal["fast"] = "fast"
    max_bins: PositiveInt = Field(
        1000,
        description="Refuse a region that the bin width would cut into more grey levels: texture would take hours.",
    )
    log_margin: Literal["pyradiomics", "full"] = Field(
        "pyradiomics",
        description="What LoG sees around the region after resampling or preCrop: PyRadiomics' `padDistance`, too "
        "little from about 3 mm on, or 8 sigma. With `full` the LoG features differ from PyRadiomics'.",
    )

    def build(self, parameters: Mapping[str, Any], device: str = "cpu") -> Measure:
        """Give the function that measures a volume with these parameters.

        With ``cuda`` texture is counted there, to the last bit as on the CPU; filters and sums stay on the CPU.
        """
        from radfuse.extract.native.counting import counting_on
        from radfuse.extract.native.measure import FastMeasure

        return FastMeasure(parameters, self.max_bins, self.log_margin, counting_on(device))
