"""Which features a parameter file gives, without measuring anything."""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import radiomics
import SimpleITK as sitk
from radiomics import imageoperations
from radiomics.featureextractor import RadiomicsFeatureExtractor

from radfuse.extract.containment import contained


@lru_cache(maxsize=32)
def feature_names(parameters: str) -> tuple[str, ...]:
    """List the features that these parameters (as JSON) give on any region, in PyRadiomics' order."""
    with contained():
        extractor = RadiomicsFeatureExtractor(json.loads(parameters))
        return tuple(_names(extractor))


def _names(extractor: Any) -> Iterator[str]:
    classes = radiomics.getFeatureClasses()
    for shape in ("shape", "shape2D"):
        if shape in extractor.enabledFeatures and (shape == "shape" or extractor.settings["force2D"]):
            for feature in _features(classes[shape], extractor.enabledFeatures[shape]):
                yield f"original_{shape}_{feature}"
    for image_type in _image_types(extractor):
        yield from names_of_image(image_type, extractor.enabledFeatures)


def names_of_image(image_type: str, chosen: Mapping[str, list[str] | None]) -> Iterator[str]:
    """Name what is measured in one image: the features chosen of each class, shape apart."""
    classes = radiomics.getFeatureClasses()
    for name, listed in chosen.items():
        if not name.startswith("shape"):
            for feature in _features(classes[name], listed):
                yield f"{image_type}_{name}_{feature}"


def _features(feature_class: Any, listed: list[str] | None) -> list[str]:
    known = feature_class.getFeatureNames()
    return list(dict.fromkeys(listed)) if listed else [name for name, deprecated in known.items() if not deprecated]


def _image_types(extractor: Any) -> Iterator[str]:
    for name, own in extractor.enabledImagetypes.items():
        yield from filtered_names(name, {**extractor.settings, **own})


def filtered_names(image_type: str, settings: Mapping[str, Any]) -> list[str]:
    """Let a filter name its results on a small image, the voxels so large that no filter finds it too small."""
    array = np.random.default_rng(0).uniform(1.0, 2.0, (16, 16, 16))
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([max([1.0, *settings.get("sigma", [])])] * 3)
    region = sitk.GetImageFromArray(np.ones(array.shape, np.uint32))
    images = getattr(imageoperations, f"get{image_type}Image")(image, region, **settings)
    return [name for _, name, _ in images]
