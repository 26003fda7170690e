"""One volume measured the IBSI way: the image processing in front, PyRadiomics' features, and the families it lacks."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import radiomics

from radfuse.data.volume import Mask, Volume
from radfuse.errors import DataError, GeometryError
from radfuse.extract.containment import contained
from radfuse.extract.extractor import Measured
from radfuse.extract.feature_names import names_of_image
from radfuse.extract.ibsi1.added import Added
from radfuse.extract.ibsi1.conformed import Conformed, Processing, bins_for, conform, discretised
from radfuse.extract.ibsi1.corrections import excess_kurtosis, grey_tone_differences, places_of, sample_axes
from radfuse.extract.ibsi2.cropping import respond_in
from radfuse.extract.ibsi2.filter import Filter
from radfuse.extract.measurement import DIAGNOSTICS, TEXTURE, PyRadiomicsMeasure
from radfuse.extract.native import HandOver
from radfuse.extract.native.filters import Filtered, Source, filtered, to_sitk
from radfuse.extract.native.first_order import first_order
from radfuse.extract.native.provenance import Provenance
from radfuse.extract.native.region import Prepared, box_of
from radfuse.extract.native.shape import shape_of
from radfuse.extract.native.texture import NAMES, Texture

Array = npt.NDArray[Any]

# The texture kernels keep grey levels in 16 bits.
MOST_LEVELS = np.iinfo(np.int16).max - 1


class IbsiMeasure:
    """Measure volumes with one set of parameters.

    Parameters
    ----------
    parameters : the contents of a PyRadiomics parameter file; `force2D` says whether texture stays within slices.
    processing : IBSI's image processing, by the unit of the volume.
    added : the families that PyRadiomics lacks.
    filters : of IBSI-2; their responses are measured beside the images of the parameters.
    max_bins : the largest number of grey levels that texture is computed for.
    """

    def __init__(
        self,
        parameters: Mapping[str, Any],
        processing: Mapping[str, Processing],
        added: Added,
        filters: Sequence[Filter],
        max_bins: int,
    ) -> None:
        self.reference = PyRadiomicsMeasure(parameters, max_bins)
        self.processing, self.added, self.filters, self.max_bins = processing, added, filters, max_bins
        chosen = self.reference.extractor.enabledFeatures
        responses = [name for each in filters for name in names_of_image(each.name, chosen)]
        self.measured = (*self.reference.names, *responses)
        self.names = (*self.measured, *added.names)

    def __call__(self, volume: Volume, mask: Mask) -> Measured:
        """Measure a volume inside its mask."""
        self.reference.check(volume, mask)
        if not mask.geometry.matches(volume.geometry):
            raise GeometryError(
                f"mask and {volume.modality} do not share a grid: {volume.geometry.differences(mask.geometry)}",
                hint="IBSI knows no correction of the mask: run `radfuse align`, which puts them on one grid.",
            )
        conformed = conform(volume, mask, self.processing_for(volume), self._around_mm())
        measuring = _Measuring(self, conformed, volume.modality)
        try:
            with contained() as messages:
                found = self._provenance(volume, mask) | measuring.features()
                more, problems = self.added.measure(conformed)
        except (HandOver, ValueError, RuntimeError) as error:
            raise DataError(
                f"{volume.modality} cannot be measured: {error}", hint="Look at the region: its size and its grid."
            ) from error
        measured = self.reference.read(found, measuring.levels, messages)
        return Measured(
            {**{name: measured.values.get(name, float("nan")) for name in self.measured}, **more},
            {**measured.diagnostics, **processing_notes(conformed)},
            {**measured.problems, **problems},
        )

    def _provenance(self, volume: Volume, mask: Mask) -> dict[str, Any]:
        """Give PyRadiomics' notes about its input, if the parameters ask for them."""
        extractor = self.reference.extractor
        settings = {**extractor.settings, "label": mask.label}
        if not settings.get("additionalInfo", False):
            return {}
        notes = Provenance(settings, extractor.enabledImagetypes)
        notes.original(volume, mask)
        return notes.found

    def processing_for(self, volume: Volume) -> Processing:
        """Give the image processing of a volume."""
        return self.processing.get(volume.unit, self.processing[""])

    def _around_mm(self) -> float:
        # Filters see the whole image; everything else ends with the ball of the local intensity peak, 6.2 mm wide.
        filtered = self.filters or not set(self.reference.extractor.enabledImagetypes) <= {"Original"}
        return np.inf if filtered else 10.0


class _Measuring:
    """The measuring of one volume."""

    def __init__(self, measure: IbsiMeasure, conformed: Conformed, modality: str) -> None:
        self.conformed, self.modality, self.max_bins = conformed, modality, measure.max_bins
        self.extractor = measure.reference.extractor
        self.settings: dict[str, Any] = {**self.extractor.settings, "label": 1}
        self.filters = measure.filters
        self.wanted = frozenset(measure.measured)
        self.levels: dict[str, int] = {}
        box = box_of(conformed.intensity)
        self.prepared = Prepared(
            conformed.image, conformed.geometry, conformed.intensity[box], conformed.intensity[box], box
        )
        self._check_size()

    def features(self) -> dict[str, Any]:
        """Give features by PyRadiomics' names."""
        found = self._shapes()
        source = Source(self.prepared, 1)
        for image_type, own in self.extractor.enabledImagetypes.items():
            for image in filtered(source, image_type, {**self.settings, **own}):
                found |= self._measure_image(image)
        for chosen in self.filters:
            found |= self._measure_image(self._response(chosen))
        return {name: value for name, value in found.items() if name in self.wanted}

    def _response(self, chosen: Filter) -> Filtered:
        image, grid, box = self.conformed.image, self.conformed.geometry, self.prepared.box
        response = respond_in(box, chosen, image, grid.spacing_mm)
        return Filtered(chosen.name, response[self.prepared.region], self.settings)

    def _check_size(self) -> None:
        region = self.prepared.region
        wide, voxels = sum(size > 1 for size in region.shape), int(region.sum())
        least = self.settings.get("minimumROISize")
        if wide < max(1, self.settings.get("minimumROIDimensions", 2)) or (least is not None and voxels <= least):
            raise DataError(
                f"the region of {self.modality} has {voxels} voxels along {wide} axes after IBSI's processing, "
                "below the minimum of the parameters",
                hint="Lower setting.minimumROIDimensions or minimumROISize, or leave the subject out.",
            )

    def _shapes(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        conformed, classes = self.conformed, self.extractor.enabledFeatures
        outline = conformed.morphology[box_of(conformed.morphology)]
        if "shape" in classes:
            values = sample_axes(shape_of(outline, conformed.spacing_mm), int(outline.sum()))
            found |= {f"original_shape_{name}": value for name, value in values.items()}
        if "shape2D" in classes:
            extractor = copy.copy(self.extractor)
            extractor.enabledFeatures = {"shape2D": classes["shape2D"]}
            region = to_sitk(outline.astype(np.uint32), conformed.spacing_mm)
            box = np.array([limit for size in region.GetSize() for limit in (0, size - 1)])
            found |= extractor.computeShape(region, region, box, **self.settings)
        return found

    def _measure_image(self, image: Filtered) -> dict[str, Any]:
        values = np.ascontiguousarray(image.values, dtype=np.float64)
        grey = self._discretised(image.name, values)
        settings = image.settings
        places = places_of(self.prepared.region, settings)
        texture = Texture(places, grey, settings, self.prepared.spacing_mm)
        found: dict[str, Any] = {}
        for feature_class in self.extractor.enabledFeatures:
            if feature_class.startswith("shape"):
                continue
            handed_over = False
            try:
                answer = self._answer(image, values, texture, feature_class)
            except HandOver:
                handed_over = True
            if handed_over:
                answer = self._by_pyradiomics(image, grey, feature_class)
            if feature_class == "firstorder":
                answer = excess_kurtosis(answer)
            found |= {f"{image.name}_{feature_class}_{name}": value for name, value in answer.items()}
        return found

    def _answer(
        self, image: Filtered, values: npt.NDArray[np.float64], texture: Texture, feature_class: str
    ) -> dict[str, Any]:
        if feature_class == "firstorder":
            voxel_mm3 = float(np.prod(self.prepared.spacing_mm))
            return first_order(values, texture.histogram, image.settings, voxel_mm3)
        if self.levels[image.name] == 1:
            return dict.fromkeys(NAMES[feature_class], float("nan"))
        if feature_class == "ngtdm":
            return grey_tone_differences(texture)
        found: dict[str, float] = getattr(texture, feature_class)()
        return found

    def _discretised(self, name: str, values: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
        processing = self.conformed.processing
        if name == "original":
            grey = self.conformed.levels[self.conformed.intensity]
        else:
            # A range of intensities says nothing of a filter's answer: its bins begin at its lowest value.
            anchor, width = bins_for(values, None, "", processing.bin_width, processing.bin_count)
            grey = discretised(values, anchor, width, processing.bin_count)
        span = int(grey.max()) - int(grey.min()) + 1
        textured = any(feature_class in TEXTURE for feature_class in self.extractor.enabledFeatures)
        if (textured and span > self.max_bins) or int(grey.max()) > MOST_LEVELS:
            raise DataError(
                f"bins of {processing.bin_width or self.conformed.bin_width:g} cut the region of the {name} image of "
                f"{self.modality} into {span} grey levels, at most {self.max_bins} are computed",
                hint="Widen setting.binWidth; 10 to 128 levels are usual.",
            )
        self.levels[name] = span
        return grey.astype(np.int16)

    def _by_pyradiomics(self, image: Filtered, grey: Array, feature_class: str) -> dict[str, Any]:
        """Let PyRadiomics compute a class where its own rounding decides, on grey levels that are given."""
        region = self.prepared.region
        intensities, levels = np.zeros(region.shape), np.zeros(region.shape, np.int64)
        intensities[region], levels[region] = image.values, grey
        made = _with_levels(radiomics.getFeatureClasses()[feature_class], levels)(
            to_sitk(intensities, self.prepared.spacing_mm),
            to_sitk(region.astype(np.uint32), self.prepared.spacing_mm),
            **image.settings,
        )
        for feature in self.extractor.enabledFeatures[feature_class] or ():
            made.enableFeatureByName(feature)
        return dict(made.execute())


def _with_levels(feature_class: Any, levels: Array) -> Any:
    """Give a class of PyRadiomics that takes grey levels as they are: its own bins begin elsewhere than IBSI's."""

    def as_they_are(self: Any, matrix: Array) -> Array:
        self.coefficients["grayLevels"] = np.unique(levels[self.maskArray])
        self.coefficients["Ng"] = int(levels.max())
        return levels

    # Its module names the logger, whose warnings are collected.
    own = {"_applyBinning": as_they_are, "__module__": feature_class.__module__}
    return type(feature_class.__name__, (feature_class,), own)


def processing_notes(conformed: Conformed) -> dict[str, str]:
    """Say what the image processing did, as diagnostics."""
    processing = conformed.processing
    facts: Iterable[tuple[str, object]] = (
        ("Spacing", conformed.geometry.spacing_mm),
        ("Size", conformed.whole.size),
        ("Interpolator", processing.interpolator),
        ("Rounding", processing.rounding),
        ("Range", conformed.limits),
        ("FirstBin", conformed.anchor),
        ("BinWidth", conformed.bin_width),
        ("VoxelsMorphology", int(conformed.morphology.sum())),
        ("VoxelsIntensity", int(conformed.intensity.sum())),
    )
    return {f"{DIAGNOSTICS}ibsi_{name}": str(value) for name, value in facts}
