"""N4: take away the slow change of brightness that a receive coil leaves across an MR image."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from radfuse.align.intensity import NOTHING_DRAWN, Intensity, Regions, Rescale
from radfuse.align.intensity.tissue import BODY, LEGAL, OVER, THRESHOLD, finite_values, voxels_over
from radfuse.data.volume import Volume
from radfuse.errors import DataError

CUBIC = 3  # a spline of this order has so many more control points than spans


class N4(Intensity):
    """Divide by the smooth bias field that sharpens the histogram most [Tustison et al., IEEE TMI 29:1310, 2010].

    A step before another: `[n4, zscore]`. The unit stays, and grey values are comparable within the image only. Two
    places of one brightness may end apart, so the order of brightness is not kept across the image.
    """

    monotone: ClassVar[bool] = False

    method: Literal["n4"] = "n4"
    shrink_mm: float = Field(
        4.0, ge=0.0, description="The field is fitted to voxels of about that size; it is far smoother than an image."
    )
    spline_mm: float = Field(
        50.0,
        ge=10.0,
        description="Distance between the field's control points at its finest, so that organs and tumours stay; the "
        "field starts from ones twice as far apart for each further resolution.",
    )
    iterations: tuple[PositiveInt, ...] = Field(
        (50, 50, 50),
        min_length=1,
        max_length=6,
        description="At most that many at each resolution of the field, the coarsest first; a small image has fewer.",
    )
    over: str = Field(BODY, description=OVER, pattern=LEGAL)
    threshold: float = Field(0.1, ge=0.0, lt=1.0, description=THRESHOLD)

    def build(self) -> Rescale:
        """Give the function."""
        return self._correct

    def _correct(self, volume: Volume, regions: Regions = NOTHING_DRAWN) -> Volume:
        import SimpleITK as sitk

        values = finite_values(volume)
        tissue = voxels_over(volume, values, regions, self.over, self.threshold) & (values > 0)
        if not tissue.any():
            raise DataError(
                f"{volume.modality} has no voxel above 0 over {self.over}, and N4 works on logarithms",
                hint="N4 is for the scanner's own MR images: put it first in align.intensity.",
            )
        image = volume.with_array(values.astype(np.float32)).to_sitk()
        where = volume.with_array(tissue.astype(np.uint8)).to_sitk()
        factors = [
            min(max(1, int(self.shrink_mm / step + 0.5)), max(1, size // 4))
            for step, size in zip(volume.geometry.spacing_mm, volume.geometry.size, strict=True)
        ]
        threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
        # Filters inside of this one take the global number of threads, and the last digits hang on it.
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
        try:
            fit = sitk.N4BiasFieldCorrectionImageFilter()
            spans, levels = self._spans(volume)
            fit.SetNumberOfControlPoints([span + CUBIC for span in spans])
            fit.SetMaximumNumberOfIterations(list(self.iterations[-levels:]))
            fit.Execute(sitk.Shrink(image, factors), sitk.Shrink(where, factors))
            field = sitk.GetArrayFromImage(fit.GetLogBiasFieldAsImage(image))
        finally:
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
        return volume.with_array((values / np.exp(field.astype(np.float64))).astype(np.float32))

    def _spans(self, volume: Volume) -> tuple[list[int], int]:
        """Give the spline's spans along x, y, z at the coarsest resolution, and how many resolutions there are.

        Left to itself N4 halves a quarter of the image three times; of a leg 90 mm wide that is 3 mm, and the field
        takes the tumour with it.
        """
        grid = volume.geometry
        extents = [size * step for size, step in zip(grid.size, grid.spacing_mm, strict=True)]
        halvings = int(np.log2(max(1.0, max(extents) / self.spline_mm)))
        levels = min(len(self.iterations), 1 + halvings)
        return [max(1, round(extent / (self.spline_mm * 2 ** (levels - 1)))) for extent in extents], levels
