"""What each feature adds to a classifier's answer: SHAP values, where they are exact."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np


def attributions(classifier: Any, values: np.ndarray) -> np.ndarray | None:
    """Give the SHAP values of some rows [Lundberg & Lee 2017; of trees: Lundberg 2020, doi:10.1038/s42256-019-0138-9].

    A linear model's are weight times value: rows are centred by the training rows, so 0 is the training mean. Boosted
    trees give their own, in log odds; a forest's come from shap's TreeExplainer, in probability. Both follow the
    paths of the trees. Only sizes relative to each other are comparable between classifiers.

    Parameters
    ----------
    classifier : fitted, one of `radfuse.train.classifiers`.
    values : (rows, features), as the classifier takes them.

    Returns
    -------
    (rows, features); None for a classifier without exact values, such as a kernel machine.
    """
    inner = getattr(classifier, "classifier_", classifier)  # boosted trees with balanced outcomes wrap themselves
    if hasattr(inner, "coef_"):
        return np.asarray(values * np.asarray(inner.coef_).reshape(1, -1), dtype=float)
    if hasattr(inner, "get_booster"):
        from xgboost import DMatrix

        return np.asarray(inner.get_booster().predict(DMatrix(values), pred_contribs=True)[:, :-1], dtype=float)
    if hasattr(inner, "estimators_"):
        with warnings.catch_warnings():  # shap draws with matplotlib, whose coming changes it meets as it is imported
            warnings.simplefilter("ignore")
            from shap import TreeExplainer  # type: ignore[import-untyped]

        explained = TreeExplainer(inner, feature_perturbation="tree_path_dependent").shap_values(values)
        return np.asarray(explained, dtype=float)[:, :, 1]
    return None
