"""The data dictionary: what each feature column means."""

from collections.abc import Iterable

import pandas as pd

from radfuse.data.names import FeatureName


def data_dictionary(columns: Iterable[str]) -> pd.DataFrame:
    """Take feature columns apart: modality, image type, class and feature, one row per column.

    Examples
    --------
    >>> data_dictionary(["PET.original_glcm_Contrast"]).loc[0].to_dict()  # doctest: +NORMALIZE_WHITESPACE
    {'column': 'PET.original_glcm_Contrast', 'modality': 'PET', 'image_type': 'original',
     'feature_class': 'glcm', 'feature': 'Contrast'}
    """
    names = list(columns)
    parts = [FeatureName.parse(name) for name in names]
    return pd.DataFrame(
        {
            "column": names,
            "modality": [part.modality for part in parts],
            "image_type": [part.image_type for part in parts],
            "feature_class": [part.feature_class for part in parts],
            "feature": [part.feature for part in parts],
        }
    )
