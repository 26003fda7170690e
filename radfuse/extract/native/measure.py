"""One volume measured natively, with PyRadiomics for what is left over."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import radiomics
from radiomics import imageoperations

from radfuse.data.volume import Mask, Volume
from radfuse.extract.containment import contained
from radfuse.extract.extractor import Measured
from radfuse.extract.kernels.levels import digitise
from radfuse.extract.measurement import DIAGNOSTICS, PyRadiomicsMeasure
from radfuse.extract.native import HandOver
from radfuse.extract.native.counting import Compiled, Counting
from radfuse.extract.native.filters import Filtered, Source, filtered, to_sitk
from radfuse.extract.native.first_order import first_order
from radfuse.extract.native.provenance import Provenance
from radfuse.extract.native.region import Prepared, prepare
from radfuse.extract.native.shape import shape_of
from radfuse.extract.native.texture import NAMES, Places, Texture

BY_PYRADIOMICS = f"{DIAGNOSTICS}radfuse_ByPyRadiomics"
HANDED_OVER = f"{DIAGNOSTICS}radfuse_HandedOver"

# A region this much thinner than long has no width but rounding's, whose root PyRadiomics may give as a complex number.
LINE = 1e-6


class FastMeasure:
    """Measure volumes with one set of parameters.

    Parameters
    ----------
    parameters : the contents of a PyRadiomics parameter file.
    max_bins : the largest number of grey levels that texture is computed for.
    log_margin : what LoG sees around a resampled or cropped region: ``pyradiomics`` or ``full``.
    counting : who counts texture.
    """

    def __init__(
        self, parameters: Mapping[str, Any], max_bins: int, log_margin: str, counting: Counting = Compiled
    ) -> None:
        self.reference = PyRadiomicsMeasure(parameters, max_bins)
        self.names = self.reference.names
        self.log_margin = log_margin
        self.counting = counting

    def __call__(self, volume: Volume, mask: Mask) -> Measured:
        """Measure a volume inside its mask, pixel type as it is."""
        self.reference.check(volume, mask)
        try:
            with contained() as messages:
                run = _Run(self, volume, mask)
                found = run.features()
        except (HandOver, ValueError, RuntimeError) as reason:
            # What PyRadiomics refuses it refuses in its own words; what it can do after all, it does.
            measured = self.reference(volume, mask)
            return _noted(measured, f"all of it ({reason})", len(self.names))
        measured = self.reference.read(found, run.levels, messages)
        return _noted(measured, "; ".join(dict.fromkeys(run.handed_over)), run.columns_handed_over)


def _noted(measured: Measured, reasons: str, columns: int) -> Measured:
    notes = {BY_PYRADIOMICS: reasons, HANDED_OVER: f"{columns} of {len(measured.values)} columns"}
    return dataclasses.replace(measured, diagnostics={**measured.diagnostics, **notes})


class _Run:
    """The measuring of one volume."""

    def __init__(self, measure: FastMeasure, volume: Volume, mask: Mask) -> None:
        self.measure, self.volume, self.mask = measure, volume, mask
        self.extractor = measure.reference.extractor
        self.settings: dict[str, Any] = {**self.extractor.settings, "label": mask.label}
        self.classes = self.extractor.enabledFeatures
        self.levels: dict[str, int] = {}
        self.handed_over: list[str] = []
        self.columns_handed_over = 0
        self._places: dict[tuple[Any, ...], Places] = {}

    def features(self) -> dict[str, Any]:
        """Give diagnostics and features by PyRadiomics' names."""
        self._refuse_foreign()
        notes = None
        if self.settings.get("additionalInfo", False):
            notes = Provenance(self.settings, self.extractor.enabledImagetypes)
        prepared = prepare(self.volume, self.mask, self.settings, notes)
        found: dict[str, Any] = notes.found if notes else {}
        found |= self._shapes(prepared)
        source = Source(prepared, self.mask.label, self._wide if self.measure.log_margin == "full" else None)
        for image_type, own in self.extractor.enabledImagetypes.items():
            for image in filtered(source, image_type, {**self.settings, **own}):
                found |= self._measure_image(prepared, image)
        self.handed_over += source.by_pyradiomics
        return found

    def _refuse_foreign(self) -> None:
        if not self.mask.geometry.matches(self.volume.geometry):
            raise HandOver("the mask is on another grid")
        if self.volume.array.dtype.kind == "f" and not np.isfinite(self.volume.array).all():
            raise HandOver("the image has NaN or infinite values outside the region")
        for image_type, own in self.extractor.enabledImagetypes.items():
            if "label" in own or "label_channel" in own:
                raise HandOver(f"{image_type} asks for a label of its own")

    def _wide(self, pad: int) -> Prepared:
        settings = {**self.settings, "padDistance": max(pad, self.settings.get("padDistance", 5))}
        return prepare(self.volume, self.mask, settings, None)

    def _shapes(self, prepared: Prepared) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if "shape" in self.classes:
            values = shape_of(prepared.outline, prepared.spacing_mm)
            if values["MajorAxisLength"] > 0 and values["MinorAxisLength"] < LINE * values["MajorAxisLength"]:
                raise HandOver("the region is a line, where PyRadiomics' rounding decides")
            found |= self._chosen("original", "shape", values)
        if "shape2D" in self.classes:
            extractor = copy.copy(self.extractor)
            extractor.enabledFeatures = {"shape2D": self.classes["shape2D"]}
            mask = prepared.outline.astype(np.uint32) * np.uint32(self.mask.label)
            region = to_sitk(mask, prepared.spacing_mm)
            box = np.array([limit for size in region.GetSize() for limit in (0, size - 1)])
            answer = extractor.computeShape(region, region, box, **self.settings)
            found |= answer
            if answer:
                self._note("shape2D", len(answer))
        return found

    def _measure_image(self, prepared: Prepared, image: Filtered) -> dict[str, Any]:
        values, settings, name = image.values, image.settings, image.name
        least, greatest = values.min(), values.max()
        levels = self.levels[name] = self.measure.reference.grey_levels(least, greatest, name, settings)
        as_floats = np.ascontiguousarray(values, dtype=np.float64)
        # PyRadiomics' edges depend on the extremes alone, and on the pixel type that its sums are done in.
        edges = imageoperations.getBinEdges(np.array([least, greatest]), **settings)
        if len(edges) > np.iinfo(np.int16).max:
            raise HandOver(f"{len(edges)} grey levels")
        places = self._places_for(prepared, settings)
        grey = digitise(as_floats, np.asarray(edges, dtype=np.float64))
        texture = Texture(places, grey, settings, prepared.spacing_mm, self.measure.counting)
        voxel_mm3 = float(np.multiply.reduce(prepared.geometry.spacing_mm))
        found: dict[str, Any] = {}
        for feature_class in self.classes:
            if feature_class.startswith("shape"):
                continue
            reason = ""
            try:
                if feature_class == "firstorder":
                    answer = first_order(as_floats, texture.histogram, settings, voxel_mm3)
                elif levels == 1:
                    answer = dict.fromkeys(NAMES[feature_class], float("nan"))
                    places.require_directions(feature_class)
                else:
                    answer = getattr(texture, feature_class)()
            except HandOver as told:
                reason = str(told)
            # Outside of the handler, so that what PyRadiomics logs about an error of its own is its own.
            if reason:
                answer = self._by_pyradiomics(prepared, image, feature_class)
                found |= {f"{name}_{feature_class}_{feature}": value for feature, value in answer.items()}
                self._note(f"{name}_{feature_class}: {reason}", len(answer))
            else:
                found |= self._chosen(name, feature_class, answer, settings)
        return found

    def _places_for(self, prepared: Prepared, settings: Mapping[str, Any]) -> Places:
        key = tuple(str(settings.get(name)) for name in ("distances", "force2D", "force2Ddimension"))
        if key not in self._places:
            self._places[key] = Places(prepared.region, settings)
        return self._places[key]

    def _chosen(
        self, name: str, feature_class: str, values: Mapping[str, float], settings: Mapping[str, Any] | None = None
    ) -> dict[str, float]:
        """Pick the features asked for, and say what PyRadiomics says when it is asked for them."""
        known = _features_of(feature_class)
        listed = self.classes[feature_class]
        log = logging.getLogger(f"radiomics.{feature_class}")
        for feature in listed or ():
            if known[feature]:
                log.warning("Feature %s is deprecated, use with caution!", feature)
        wanted = dict.fromkeys(listed) if listed else [feature for feature, old in known.items() if not old]
        if feature_class == "glcm" and settings is not None:
            _warn_about_symmetry(log, wanted, settings.get("symmetricalGLCM", True))
        return {f"{name}_{feature_class}_{feature}": values[feature] for feature in wanted if feature in values}

    def _by_pyradiomics(self, prepared: Prepared, image: Filtered, feature_class: str) -> dict[str, Any]:
        array = np.zeros(prepared.region.shape, image.values.dtype)
        array[prepared.region] = image.values
        mask = prepared.region.astype(np.uint32) * np.uint32(self.mask.label)
        made = radiomics.getFeatureClasses()[feature_class](
            to_sitk(array, prepared.spacing_mm), to_sitk(mask, prepared.spacing_mm), **image.settings
        )
        for feature in self.classes[feature_class] or ():
            made.enableFeatureByName(feature)
        return dict(made.execute())

    def _note(self, what: str, columns: int) -> None:
        self.handed_over.append(what)
        self.columns_handed_over += columns


@lru_cache
def _features_of(feature_class: str) -> dict[str, bool]:
    """List PyRadiomics' features of a class, and whether each is no longer advised."""
    return dict(radiomics.getFeatureClasses()[feature_class].getFeatureNames())


def _warn_about_symmetry(log: logging.Logger, wanted: Any, symmetrical: bool) -> None:
    assumes = "The formula for GLCM - {} assumes that the GLCM is symmetrical, but this is not the case."
    for feature in wanted:
        if symmetrical and feature == "SumAverage":
            log.warning("GLCM is symmetrical, therefore Sum Average = 2 * Joint Average, only 1 needs to be calculated")
        elif not symmetrical and feature in ("JointAverage", "SumSquares"):
            log.warning(assumes.format("Joint Average" if feature == "JointAverage" else "Sum of Squares"))
