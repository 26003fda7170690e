"""What a PyRadiomics parameter file says, in the terms of IBSI's image processing."""

from collections.abc import Mapping
from typing import Any

from radfuse.errors import ConfigError
from radfuse.extract.ibsi1.conformed import Processing

# PyRadiomics interpolates by the cubic spline when nothing else is said.
INTERPOLATORS = {"sitkBSpline": "bspline", 3: "bspline", "sitkLinear": "linear", 2: "linear"}

CLASSES = ("shape", "firstorder", "glcm", "gldm", "glrlm", "glszm", "ngtdm")

# Steps that IBSI's processing has not, or has otherwise.
FOREIGN = {
    "normalize": "normalise the volumes before, with align.intensity",
    "resegmentShape": "IBSI never resegments the mask whose shape is measured",
    "weightingNorm": "IBSI averages over directions or merges them",
}


def with_dimensionality(parameters: Mapping[str, Any], wanted: str | None) -> tuple[dict[str, Any], bool]:
    """Make `force2D` say what is wanted; give the parameters and whether texture stays within slices.

    With `force2D` PyRadiomics' default classes include `shape2D`, which refuses a region of several slices; IBSI has
    no such features.
    """
    settings = dict(parameters.get("setting") or {})
    if wanted is not None:
        settings["force2D"] = wanted == "2D"
    flat = bool(settings.get("force2D", False))
    if flat and settings.get("force2Ddimension", 0) != 0:
        raise ConfigError(
            f"setting.force2Ddimension is {settings['force2Ddimension']}, but IBSI's slices are axial, dimension 0",
            hint="Leave force2Ddimension out, or use the method `fast`.",
        )
    classes = parameters.get("featureClass") or (dict.fromkeys(CLASSES) if flat else {})
    return {**parameters, "setting": settings, **({"featureClass": classes} if classes else {})}, flat


def processing_from(
    settings: Mapping[str, Any], *, outlier_sigma: float | None, rounding: bool, ivh: tuple[float | None, int | None]
) -> Processing:
    """Translate PyRadiomics' settings.

    Parameters
    ----------
    settings : the section `setting` of a parameter file.
    outlier_sigma : as `Processing` has it; `resegmentMode: sigma` may ask for it too.
    rounding : whether intensities become whole.
    ivh : bin width and number of bins of the intensity-volume histogram.
    """
    for name, reason in FOREIGN.items():
        if settings.get(name):
            raise ConfigError(f"setting.{name} has no place in IBSI's processing: {reason}", hint="Leave it out.")
    limits, sigma = _resegmentation(settings, outlier_sigma)
    spacing = settings.get("resampledPixelSpacing")
    if spacing is not None and len(spacing) != 3:
        raise ConfigError(f"setting.resampledPixelSpacing has {len(spacing)} axes, expected x, y, z: {spacing}")
    return Processing(
        spacing_mm=None if spacing is None else (float(spacing[0]), float(spacing[1]), float(spacing[2])),
        interpolator=_interpolator(settings),  # type: ignore[arg-type]
        rounding=rounding,
        resegment=limits,
        outlier_sigma=sigma,
        bin_width=None if settings.get("binCount") else float(settings.get("binWidth", 25.0)),
        bin_count=settings.get("binCount"),
        ivh_bin_width=ivh[0],
        ivh_bin_count=ivh[1],
    )


def _interpolator(settings: Mapping[str, Any]) -> str:
    if settings.get("resampledPixelSpacing") is None:
        return "linear"
    given = settings.get("interpolator", "sitkBSpline")
    if given not in INTERPOLATORS:
        raise ConfigError(
            f"setting.interpolator is {given!r}; with IBSI's processing an image is interpolated by sitkLinear or "
            "sitkBSpline",
            hint="Choose one of the two; the mask is always interpolated linearly.",
        )
    return INTERPOLATORS[given]


def _resegmentation(
    settings: Mapping[str, Any], outlier_sigma: float | None
) -> tuple[tuple[float, float] | None, float | None]:
    given = settings.get("resegmentRange")
    if given is None:
        return None, outlier_sigma
    limits, mode = sorted(map(float, given)), settings.get("resegmentMode", "absolute")
    low, high = limits[0], limits[1] if len(limits) == 2 else float("inf")
    if mode == "absolute":
        return (low, high), outlier_sigma
    if mode == "sigma" and low == -high and outlier_sigma in (None, high):
        return None, high
    raise ConfigError(
        f"setting.resegmentRange {given} with resegmentMode {mode!r} is no resegmentation of IBSI's",
        hint="Give a range of intensities (resegmentMode absolute), and outlier_sigma for outliers.",
    )
