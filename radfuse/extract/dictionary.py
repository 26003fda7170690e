"""The data dictionary: what each feature column means, and what the reference manuals of the IBSI call it."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from radfuse.data.names import FeatureName
from radfuse.errors import ConfigError
from radfuse.extract.extractor import Extractor
from radfuse.extract.fast import Fast
from radfuse.extract.ibsi import Ibsi
from radfuse.extract.ibsi1.catalogue import MERGING_CODES, features_by_name, split_tag
from radfuse.extract.ibsi1.settings import with_dimensionality
from radfuse.extract.ibsi2.filter import Filter
from radfuse.extract.ibsi2.log import LaplacianOfGaussian
from radfuse.extract.ibsi2.wavelet import Wavelet
from radfuse.extract.parameters import parameters_for

SAME = "same"
AXES = "differs: covariance over N voxels, IBSI's over N - 1"
THIN = "differs where no line of a direction meets two voxels: PyRadiomics leaves that direction out"
LONELY = "differs where a voxel has no neighbour: PyRadiomics counts it"

# PyRadiomics' own definitions that are not the manual's; the method `ibsi` computes the manual's.
DIFFERENCES = {
    "firstorder_Kurtosis": "differs: IBSI's is 3 less, excess kurtosis",
    "shape_MajorAxisLength": AXES,
    "shape_MinorAxisLength": AXES,
    "shape_LeastAxisLength": AXES,
    "glrlm": THIN,
    "ngtdm": LONELY,
}

# Settings that change a definition, whatever computes it. Features of the sum or the difference of two grey levels
# are the same counted one way or both.
SQUARES = ("firstorder_Energy", "firstorder_RootMeanSquared")
ONE_SIDED = (
    "glcm_MaximumProbability", "glcm_JointAverage", "glcm_SumSquares", "glcm_JointEntropy", "glcm_JointEnergy",
    "glcm_Correlation", "glcm_Imc1", "glcm_Imc2",
)  # fmt: skip
BY_DIRECTION = ("glcm", "glrlm")
BY_NEIGHBOURHOOD = ("glszm", "gldzm", "gldm", "ngtdm")

LOG = "differs: recursive Gaussians, and times sigma squared"
UNSPREAD = "differs: beyond the first level IBSI spreads the kernels, PyRadiomics does not"


def data_dictionary(
    columns: Iterable[str],
    extractor: Extractor | None = None,
    parameters: Mapping[str, dict[str, Any]] | None = None,
) -> pd.DataFrame:
    """Take feature columns apart: modality, region, image type, class and feature, one row per column.

    ``ibsi_tag`` and ``ibsi_code`` name the feature in the reference manual (arXiv:1612.07003), two of them where both
    have one value, none where the manual has no such feature. ``ibsi_aggregation`` is the code of how texture is
    merged over directions and slices; there is none for slices that are not axial. ``ibsi_definition`` is about the
    feature alone: the values also depend on grid, range and bins, which only the method `ibsi` makes the manual's.
    ``ibsi_filter`` is the code of the image type in the manual of filters (arXiv:2006.05470), and
    ``ibsi_filter_definition`` says whether it is that filter, with settings of its own: PyRadiomics' wavelet is
    periodic and not pooled.

    Parameters
    ----------
    columns : as in features.csv.
    extractor : what measured them; None is `fast`.
    parameters : of PyRadiomics by modality, as `Extract` has them; a modality without any has PyRadiomics' defaults.

    Examples
    --------
    >>> data_dictionary(["PET.original_glcm_Contrast"]).loc[0].to_dict()  # doctest: +NORMALIZE_WHITESPACE
    {'column': 'PET.original_glcm_Contrast', 'modality': 'PET', 'region': '', 'image_type': 'original',
     'feature_class': 'glcm', 'feature': 'Contrast', 'ibsi_tag': 'cm_contrast', 'ibsi_code': 'ACUI',
     'ibsi_aggregation': 'ITBB', 'ibsi_definition': 'same', 'ibsi_filter': '', 'ibsi_filter_definition': ''}
    >>> data_dictionary(["CT.original_firstorder_Kurtosis"]).loc[0, "ibsi_definition"]
    "differs: IBSI's is 3 less, excess kurtosis"
    """
    chosen = extractor or Fast()
    responses = {each.name: each for each in chosen.filters} if isinstance(chosen, Ibsi) else {}
    rows = []
    for column in columns:
        parts = FeatureName.parse(column)
        feature, merging = split_tag(parts.feature)
        found = features_by_name().get(f"{parts.feature_class}_{feature}", ())
        settings = _settings(parts, chosen, parameters or {})
        merged = merging or _merging(parts.feature_class, settings)
        code, sameness = _filter(parts.image_type, responses, settings)
        rows.append(
            {
                "column": column,
                "modality": parts.modality,
                "region": parts.region,
                "image_type": parts.image_type,
                "feature_class": parts.feature_class,
                "feature": parts.feature,
                "ibsi_tag": " ".join(each.tag for each in found),
                "ibsi_code": " ".join(each.code for each in found),
                "ibsi_aggregation": MERGING_CODES.get(merged, "") if found else "",
                "ibsi_definition": _definition(found[0].name, settings, isinstance(chosen, Ibsi)) if found else "",
                "ibsi_filter": code,
                "ibsi_filter_definition": sameness,
            }
        )
    return pd.DataFrame(rows)


def _settings(parts: FeatureName, extractor: Extractor, parameters: Mapping[str, dict[str, Any]]) -> Mapping[str, Any]:
    """Give the settings of a column: those of its image type before those of the file."""
    try:
        given = parameters_for(parts.modality, parameters)
    except ConfigError:
        given = {}
    if isinstance(extractor, Ibsi):
        given, _ = with_dimensionality(given, extractor.dimensionality)
    own = (given.get("imageType") or {}).get(_pyradiomics_name(parts.image_type)) or {}
    return {**(given.get("setting") or {}), **own}


def _pyradiomics_name(image_type: str) -> str:
    """Name an image type as parameter files do: ``wavelet2-LLH`` is of Wavelet, ``lbp-3D-m1`` of LBP3D."""
    kind, _, rest = image_type.partition("-")
    kind = kind.rstrip("0123456789")
    if kind == "lbp":
        return f"LBP{rest[:2]}"
    return {"log": "LoG", "squareroot": "SquareRoot"}.get(kind, kind.capitalize())


def _merging(feature_class: str, settings: Mapping[str, Any]) -> str:
    """Say how PyRadiomics merges texture: over slices in any case, and over directions where it weights them."""
    flat = bool(settings.get("force2D"))
    if flat and settings.get("force2Ddimension", 0) != 0:
        return ""
    dimension = "2_5D" if flat else "3D"
    if feature_class in BY_DIRECTION:
        return f"{dimension}_{'avg' if settings.get('weightingNorm') is None else 'comb'}"
    return dimension if feature_class in BY_NEIGHBOURHOOD else ""


def _definition(name: str, settings: Mapping[str, Any], conforming: bool) -> str:
    feature_class = name.partition("_")[0]
    distances = sorted({int(each) for each in settings.get("distances") or [1]})
    if name in SQUARES and settings.get("voxelArrayShift", 0) != 0:
        return f"differs: voxelArrayShift adds {settings['voxelArrayShift']} to every intensity"
    if name in ONE_SIDED and not settings.get("symmetricalGLCM", True):
        return "differs: pairs are counted one way (symmetricalGLCM: false), IBSI's both ways"
    if feature_class in BY_DIRECTION and settings.get("weightingNorm") not in (None, "no_weighting"):
        return f"differs: directions are weighted by their length (weightingNorm: {settings['weightingNorm']})"
    if feature_class == "glcm" and len(distances) > 1:
        return f"differs: pairs of all distances in {distances} together, IBSI's are of one"
    if feature_class in ("gldm", "ngtdm") and distances != list(range(1, len(distances) + 1)):
        return f"differs: neighbours at the distances {distances} alone, IBSI's are all up to one"
    return SAME if conforming else DIFFERENCES.get(name) or DIFFERENCES.get(feature_class, SAME)


def _filter(image_type: str, responses: Mapping[str, Filter], settings: Mapping[str, Any]) -> tuple[str, str]:
    """Give the code of the filter in the manual of filters, and whether it is the manual's."""
    if image_type in responses:
        return responses[image_type].code, SAME
    match _pyradiomics_name(image_type):
        case "LoG":
            return LaplacianOfGaussian.code, LOG
        case "Wavelet":
            deep = not image_type.startswith("wavelet-") or settings.get("start_level", 0) > 0
            return Wavelet.code, UNSPREAD if deep else SAME
        case _:
            return "", ""
