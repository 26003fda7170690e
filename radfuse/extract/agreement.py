"""When two answers are the same answer: the tolerance of every feature, and its scale near zero."""

import math
from collections.abc import Mapping

RELATIVE = 1e-6
MCC = 1e-4  # PyRadiomics adds an epsilon to the matrix whose eigenvalues it takes; the eigenvalues feel it

# What has the unit of the image is compared on the scale of the values in the region.
INTENSITIES = {"Mean", "Median", "Minimum", "Maximum", "10Percentile", "90Percentile"}
# These cross zero, and are of order 1.
AROUND_ZERO = {"Skewness", "Correlation", "Imc1", "Imc2", "MCC", "Flatness", "Elongation", "ClusterShade"}
# No other feature is compared on a finer scale than this.
LEAST = 1e-3


def tolerance(name: str) -> float:
    """Give the largest difference, as a share of the larger of value and scale, that a feature may have."""
    return MCC if name.endswith("_MCC") else RELATIVE


def scale_of(name: str, values: Mapping[str, float]) -> float:
    """Give the size below which a feature's values count as zero; a difference near zero has no relative size.

    Parameters
    ----------
    name : PyRadiomics' name, without the modality.
    values : all features of the same region.
    """
    image_type, feature_class, feature = name.split("_", 2)
    scale = LEAST
    if feature in INTENSITIES:
        scale = abs(values.get(f"{image_type}_firstorder_Range", 1.0))
    elif feature in AROUND_ZERO:
        scale = 1.0
    elif feature_class == "shape":
        scale = abs(values.get("original_shape_MajorAxisLength", 1.0))
    return max(scale, 1e-12) if math.isfinite(scale) else 1.0


def differences(found: Mapping[str, float], expected: Mapping[str, float]) -> dict[str, float]:
    """Say by name how far apart two answers are, as a share of the larger of value and scale.

    Two missing values agree; one is infinitely far from a number.
    """
    apart = {}
    for name, value in expected.items():
        if math.isnan(value) or math.isnan(found[name]):
            apart[name] = 0.0 if math.isnan(value) and math.isnan(found[name]) else math.inf
        else:
            apart[name] = abs(found[name] - value) / max(abs(value), scale_of(name, expected))
    return apart
