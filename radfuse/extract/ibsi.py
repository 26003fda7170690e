"""PyRadiomics' features as the Image Biomarker Standardisation Initiative defines them, and those it has besides."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from radfuse.errors import ConfigError
from radfuse.extract.extractor import Extractor
from radfuse.extract.ibsi2.filter import Filter

if TYPE_CHECKING:
    from radfuse.extract.ibsi1.conformed import Processing
    from radfuse.extract.ibsi1.measure import IbsiMeasure

Merging = Literal["2D_avg", "2D_comb", "2_5D_avg", "2_5D_comb", "3D_avg", "3D_comb"]


class Ibsi(Extractor):
    """Conform to IBSI-1 [Zwanenburg et al. 2020, doi:10.1148/radiol.2020191145]: its image processing, its features.

    Spacing, interpolator, bins and `resegmentRange` are those of the PyRadiomics parameters. The columns keep
    PyRadiomics' names; the numbers differ from PyRadiomics', whose grid, bins, kurtosis and axes are not IBSI's.
    """

    method: Literal["ibsi"] = "ibsi"
    outlier_sigma: PositiveFloat | None = Field(
        None,
        description="After `resegmentRange`, keep only the mean plus and minus this many standard deviations; "
        "IBSI's value is 3. None keeps all.",
    )
    rounding: Literal["HU", "always", "never"] = Field(
        "HU", description="Round intensities to whole numbers after interpolation: of volumes in HU, of all, of none."
    )
    dimensionality: Literal["2D", "3D"] | None = Field(
        None, description="Texture within slices (merged over them) or in space; None: as `force2D` says."
    )
    families: bool | None = Field(
        None,
        description="Add the features PyRadiomics lacks (GLDZM, intensity-volume histogram, local intensity, Moran, "
        "...). None: when the parameters choose no feature classes.",
    )
    merging: tuple[Merging, ...] = Field(
        (), description="Further ways to merge texture over directions and slices, each with columns of its own."
    )
    ivh_bin_width: PositiveFloat | None = Field(
        None,
        description="Bin width of the intensity-volume histogram; None: rounded intensities as they are, others in "
        "1000 bins.",
    )
    ivh_bin_count: PositiveInt | None = Field(
        None, description="Number of bins of the intensity-volume histogram, instead of a width; IBSI's value is 1000."
    )
    filters: tuple[Filter, ...] = Field(
        (), description="Filters of IBSI-2, whose responses are measured too: mean, log, laws, gabor, wavelet, ..."
    )
    max_bins: PositiveInt = Field(
        1000,
        description="Refuse a region that the bin width would cut into more grey levels: texture would take hours.",
    )

    def faults(self, parameters: Mapping[str, Any]) -> list[str]:
        """Say which steps IBSI's image processing has not."""
        try:
            self._translated(parameters)
        except ConfigError as error:
            return [error.message]
        return []

    def build(self, parameters: Mapping[str, Any], device: str = "cpu") -> "IbsiMeasure":
        """Give the function that measures a volume with these parameters."""
        from radfuse.extract.ibsi1.added import Added
        from radfuse.extract.ibsi1.measure import IbsiMeasure

        given, flat, processing = self._translated(parameters)
        families = self.families if self.families is not None else not parameters.get("featureClass")
        return IbsiMeasure(given, processing, Added(families, flat, self.merging), self.filters, self.max_bins)

    def _translated(self, parameters: Mapping[str, Any]) -> "tuple[dict[str, Any], bool, dict[str, Processing]]":
        """Give the parameters, whether texture stays within slices, and the processing by unit."""
        from radfuse.extract.ibsi1.settings import processing_from, with_dimensionality

        given, flat = with_dimensionality(parameters, self.dimensionality)
        processing = {
            unit: processing_from(
                given["setting"],
                outlier_sigma=self.outlier_sigma,
                rounding=self.rounding == "always" or (self.rounding == "HU" and unit == "HU"),
                ivh=(self.ivh_bin_width, self.ivh_bin_count),
            )
            for unit in ("HU", "")
        }
        return given, flat, processing
