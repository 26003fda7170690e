"""One volume measured with PyRadiomics, what it leaves unsaid being said."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import SimpleITK as sitk
from radiomics.featureextractor import RadiomicsFeatureExtractor

from radfuse.data.volume import Mask, Volume
from radfuse.errors import ConfigError, DataError, GeometryError
from radfuse.extract.containment import contained
from radfuse.extract.extractor import Measured
from radfuse.extract.feature_names import feature_names

DIAGNOSTICS = "diagnostics_"
TEXTURE = ("glcm", "gldm", "glrlm", "glszm", "ngtdm")

# numpy 2.5 answers real roots as complex numbers with an imaginary part of rounding size.
IMAGINARY = 1e-8


class PyRadiomicsMeasure:
    """Measure volumes with one set of parameters.

    Parameters
    ----------
    parameters : the contents of a PyRadiomics parameter file.
    max_bins : the largest number of grey levels that texture is computed for.
    """

    def __init__(self, parameters: Mapping[str, Any], max_bins: int) -> None:
        self.parameters = copy.deepcopy(dict(parameters))
        self.settings = dict(self.parameters.get("setting") or {})
        self.max_bins = max_bins
        written = json.dumps(self.parameters)
        self.extractor = _extractor(written)
        self.names = feature_names(written)

    def __call__(self, volume: Volume, mask: Mask) -> Measured:
        """Measure a volume inside its mask, pixel type as it is."""
        self.check(volume, mask)
        image, region = volume.to_sitk(), mask.to_sitk()
        if mask.geometry.matches(volume.geometry):
            region.CopyInformation(image)  # equal to a fraction of a voxel; PyRadiomics asks for 1e-6 mm
        levels: dict[str, int] = {}
        try:
            with contained() as messages:
                found = self._library(levels).execute(image, region, label=mask.label)
        except (ValueError, RuntimeError) as error:
            raise DataError(
                f"PyRadiomics cannot measure {volume.modality}: {str(error).strip().splitlines()[-1]}",
                hint="Look at the region: its size, its label and its grid.",
            ) from error
        return self.read(found, levels, messages)

    def check(self, volume: Volume, mask: Mask) -> None:
        """Refuse what PyRadiomics would answer with a riddle or with numbers that mean nothing."""
        name = volume.modality
        if mask.voxels == 0:
            present = ", ".join(map(str, mask.labels)) or "none"
            raise DataError(
                f"the region of {name} is empty: label {mask.label} does not occur in the mask, found {present}",
                hint="Name the label in the manifest's column `label`, or redraw the region.",
            )
        wanted = self.settings.get("label")
        if wanted is not None and wanted != mask.label:
            raise ConfigError(
                f"the parameters of {name} measure label {wanted}, the manifest measures label {mask.label}",
                hint="Say it in one place: the manifest's column `label`.",
            )
        # With these two PyRadiomics itself decides what to do about a mask on another grid.
        lenient = self.settings.get("correctMask") or self.settings.get("geometryTolerance")
        if not mask.geometry.matches(volume.geometry) and not lenient:
            raise GeometryError(
                f"mask and {name} do not share a grid: {volume.geometry.differences(mask.geometry)}",
                hint="Do both belong to one scan of one patient? If so, `radfuse align` puts them on one grid.",
            )
        self._check_finite(volume, mask)

    def _check_finite(self, volume: Volume, mask: Mask) -> None:
        if volume.array.dtype.kind != "f":
            return
        bad = ~np.isfinite(volume.array)
        inside = int(bad[mask.inside].sum()) if bad.shape == mask.inside.shape else int(bad.sum())
        # Filters and interpolation look beyond the region and would spread a single NaN over all of it.
        reaches = set(self.parameters.get("imageType") or ["Original"]) != {"Original"} or any(
            self.settings.get(name) for name in ("normalize", "resampledPixelSpacing")
        )
        if inside or (reaches and bad.any()):
            where = f"{inside} of {mask.voxels} voxels of the region" if inside else f"{bad.sum()} voxels outside it"
            raise DataError(
                f"{volume.modality} has NaN or infinite values in {where}",
                hint="Fill them with the background before giving the image to radfuse.",
            )

    def _library(self, levels: dict[str, int]) -> Any:
        extractor = copy.copy(self.extractor)
        compute = extractor.computeFeatures

        def counted(image: sitk.Image, region: sitk.Image, image_type: str, **settings: Any) -> Any:
            inside = sitk.GetArrayViewFromImage(region) == settings.get("label", 1)
            values = sitk.GetArrayViewFromImage(image)[inside]
            levels[image_type] = self.grey_levels(values.min(), values.max(), image_type, settings)
            return compute(image, region, image_type, **settings)

        extractor.computeFeatures = counted
        return extractor

    def grey_levels(self, least: Any, greatest: Any, image_type: str, settings: Mapping[str, Any]) -> int:
        """Count the grey levels between two voxel values; refuse more than texture can be computed for."""
        if settings.get("binCount") is not None:
            levels = int(settings["binCount"]) if least < greatest else 1
        else:
            width = settings.get("binWidth", 25)
            levels = int(np.floor(greatest / width) - np.floor(least / width)) + 1
        textured = any(name in TEXTURE for name in self.extractor.enabledFeatures)
        if textured and levels > self.max_bins:
            raise DataError(
                f"binWidth {settings.get('binWidth', 25)} cuts the region of the {image_type} image into "
                f"{levels} grey levels, at most {self.max_bins} are computed",
                hint="Widen setting.binWidth; 10 to 128 levels are usual.",
            )
        return levels

    def read(self, found: Mapping[str, Any], levels: Mapping[str, int], messages: list[str]) -> Measured:
        """Turn PyRadiomics' answer into real numbers, diagnostics, and the reasons for what is missing."""
        values = dict.fromkeys(self.names, float("nan"))
        diagnostics, problems = {}, {}
        for name, value in found.items():
            if name.startswith(DIAGNOSTICS):
                diagnostics[name] = str(value)
                continue
            values[name], problem = _real(value)
            image_type, feature_class, _ = name.split("_", 2)
            if feature_class in TEXTURE and levels.get(image_type) == 1:
                # PyRadiomics answers Correlation 1 and Coarseness 1e6 for a region without any texture.
                values[name], problem = float("nan"), "the region has one grey level, so it has no texture"
            if problem:
                problems[name] = problem
        reason = "; ".join(messages) or "PyRadiomics gave no value"
        problems |= {name: reason for name in self.names if name not in found}
        diagnostics[f"{DIAGNOSTICS}radfuse_GreyLevels"] = str(dict(levels))
        diagnostics[f"{DIAGNOSTICS}radfuse_Messages"] = "; ".join(messages)
        return Measured(values, diagnostics, problems)


@lru_cache(maxsize=32)
def _extractor(parameters: str) -> Any:
    """Make PyRadiomics' extractor from parameters (as JSON); checking them against its schema takes its time."""
    with contained():
        return RadiomicsFeatureExtractor(json.loads(parameters))


def _real(value: Any) -> tuple[float, str]:
    """Give a feature as a real number, or NaN and why."""
    number = complex(np.asarray(value).item())
    if abs(number.imag) > IMAGINARY * abs(number.real):
        return float("nan"), f"PyRadiomics gave the complex number {number:.6g}"
    if not np.isfinite(number.real):
        return float("nan"), f"PyRadiomics gave {number.real}"
    return number.real, ""
