"""The data dictionary: what each feature column means, and what the reference manual of the IBSI calls it."""

from collections.abc import Iterable

import pandas as pd

from radfuse.data.names import FeatureName
from radfuse.extract.ibsi1.catalogue import MERGING_CODES, Feature, features_by_name, split_tag

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


def data_dictionary(columns: Iterable[str], method: str = "fast") -> pd.DataFrame:
    """Take feature columns apart: modality, region, image type, class and feature, one row per column.

    ``ibsi_tag`` and ``ibsi_code`` name the feature in the reference manual (arXiv:1612.07003), two of them where both
    have one value, none where the manual has no such feature. ``ibsi_aggregation`` is the code of how texture is
    merged, where the column says it. ``ibsi_definition`` is about the feature alone: the values also depend on grid,
    range and bins, which only the method `ibsi` makes the manual's.

    Parameters
    ----------
    columns : as in features.csv.
    method : the extractor that measured them.

    Examples
    --------
    >>> data_dictionary(["PET.original_glcm_Contrast"]).loc[0].to_dict()  # doctest: +NORMALIZE_WHITESPACE
    {'column': 'PET.original_glcm_Contrast', 'modality': 'PET', 'region': '', 'image_type': 'original',
     'feature_class': 'glcm', 'feature': 'Contrast', 'ibsi_tag': 'cm_contrast', 'ibsi_code': 'ACUI',
     'ibsi_aggregation': '', 'ibsi_definition': 'same'}
    >>> data_dictionary(["CT.original_firstorder_Kurtosis"]).loc[0, "ibsi_definition"]
    "differs: IBSI's is 3 less, excess kurtosis"
    """
    rows = []
    for column in columns:
        parts = FeatureName.parse(column)
        feature, merging = split_tag(parts.feature)
        found = features_by_name().get(f"{parts.feature_class}_{feature}", ())
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
                "ibsi_aggregation": MERGING_CODES.get(merging, "") if found else "",
                "ibsi_definition": _definition(found[0], method) if found else "",
            }
        )
    return pd.DataFrame(rows)


def _definition(feature: Feature, method: str) -> str:
    if method == "ibsi":
        return SAME
    feature_class = feature.name.partition("_")[0]
    return DIFFERENCES.get(feature.name) or DIFFERENCES.get(feature_class, SAME)
