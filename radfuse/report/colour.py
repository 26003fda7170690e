"""Energy-based colour enhancement: uptake as colour on fused luminance, to be looked at and never measured.

The gain of lightness and colour is driven by the local energy of the uptake, on one scale for all time points of a
subject, so that equal uptake has equal colour and a lesion can be followed. The definition is our own; the published
enhancements of this kind come without a formula. Colours follow BT.601 (`radfuse.data.colour`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from radfuse.data.colour import lightness, with_lightness
from radfuse.data.geometry import Geometry
from radfuse.data.volume import Volume
from radfuse.errors import ConfigError, DataError, GeometryError
from radfuse.report.slices import SOFT_TISSUE_HU

Array = npt.NDArray[np.float32]

# Air measures below this SUV, every tissue above it.
BODY_SUV = 0.1
# Of other units the body is what lies above this share of the span from the minimum to the 99.5th percentile.
BODY_SHARE = 0.05
STEP_SUV = 0.5
BRIGHTEST = 0.6
# Lightness is the luminance's, so a map is known by its chroma alone: one that ends in white, such as the hot iron of
# the clinic, would show the highest uptake as grey as the lowest.
COLOURS = ("inferno", "plasma")
# Uptake below the first share of the scale stays grey, above the second it has its full colour.
GREY_UP_TO, FULL_FROM = 0.05, 0.25


@dataclass(frozen=True)
class ColourImage:
    """A picture in three dimensions. It is no `Volume`: nothing that measures takes it.

    Parameters
    ----------
    rgb : (z, y, x, 3), red, green, blue in [0, 1], float32.
    geometry : the grid of its first three axes.
    """

    rgb: Array
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.rgb.shape != (*self.geometry.shape, 3):
            raise GeometryError(f"colours of shape {self.rgb.shape} on a grid of shape {self.geometry.shape}")
        self.rgb.setflags(write=False)


@dataclass(frozen=True)
class ColourScale:
    """What makes a colour of a value: one for all slices and all time points of a subject.

    Parameters
    ----------
    luminance : values of the fused (or anatomical) volume that are black and white.
    uptake : values of the functional volume at the two ends of the colours.
    unit : of the uptake.
    gain : how much the energy lightens and colours; 0 is plain.
    energy_mm : standard deviation of the Gaussian over which the energy is taken.
    colours : of `COLOURS`.
    """

    luminance: tuple[float, float]
    uptake: tuple[float, float]
    unit: str
    gain: float = 0.6
    energy_mm: float = 4.0
    colours: str = "inferno"

    def __post_init__(self) -> None:
        for name, (low, high) in (("luminance", self.luminance), ("uptake", self.uptake)):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise DataError(f"the scale of {name} goes from low to high, found {low:g} to {high:g}")
        if self.gain < 0 or self.energy_mm < 0:
            raise DataError(f"gain and energy_mm are not negative, found {self.gain:g} and {self.energy_mm:g}")
        if self.colours not in COLOURS:
            raise ConfigError(f"unknown colours {self.colours!r}", hint=f"Known: {', '.join(COLOURS)}.")

    def record(self) -> dict[str, Any]:
        """The numbers, to be written beside the pictures."""
        return asdict(self)

    def bar(self, steps: int = 256) -> Array:
        """The colours from one end to the other, as wide uptake has them on mid-grey: (steps, 3)."""
        share = np.linspace(0.0, 1.0, steps, dtype=np.float32)
        return _colour(np.full_like(share, 0.5), share, share * share, self)


def common_scale(luminance: Sequence[Volume], uptake: Sequence[Volume], **settings: Any) -> ColourScale:
    """Make the one scale of a subject.

    The uptake goes from 0 to the largest, over the time points, of the body's 99.5th percentiles, rounded up to half
    an SUV (other units: to two digits). CT has a soft-tissue window; other luminance goes from the least of the body's
    1st percentiles to where the largest of its 99.5th stands at 60 % of white: colour needs room below white.

    Parameters
    ----------
    luminance : the fused or anatomical volume of each time point.
    uptake : the functional volume of each time point, of one unit.
    settings : of `ColourScale`, where they are not the default.
    """
    units = sorted({volume.unit for volume in uptake})
    if len(units) != 1:
        raise DataError(f"time points on one scale need one unit of uptake, found {', '.join(units) or 'no volume'}")
    top = max(float(np.percentile(_body(volume), 99.5)) for volume in uptake)
    return ColourScale(_luminance_window(luminance), (0.0, rounded_up(top, units[0])), units[0], **settings)


def rounded_up(value: float, unit: str) -> float:
    """Round the end of a scale up: to half an SUV, or to two digits in other units.

    Examples
    --------
    >>> rounded_up(7.1, "SUV"), rounded_up(0.0, "SUV"), rounded_up(1234.0, "counts")
    (7.5, 0.5, 1300.0)
    """
    step = STEP_SUV if unit == "SUV" or value <= 0 else 10.0 ** (math.floor(math.log10(value)) - 1)
    return max(1, math.ceil(round(value / step, 6))) * step


def enhance(luminance: Volume, uptake: Volume, scale: ColourScale) -> ColourImage:
    """Lay the colours of the uptake on the luminance.

    With y and s the two volumes on their scales, clipped to [0, 1], E the mean of s squared under a Gaussian and
    g = 1 + gain * sqrt(E): luma 1 - (1 - y) ** g, and the chroma of the map at s times g, faded in from grey where the
    uptake is low. Where that leaves the gamut the chroma shrinks; luma and hue stay.

    Parameters
    ----------
    luminance : the fused or anatomical volume.
    uptake : the functional volume, on the same grid.
    scale : from `common_scale`.
    """
    grid = luminance.geometry
    if not grid.matches(uptake.geometry):
        raise GeometryError(
            f"{luminance.modality} and {uptake.modality} do not share a grid: {grid.differences(uptake.geometry)}",
            hint="Run `radfuse align` first.",
        )
    share = _share(uptake, scale.uptake)
    energy = _energy(share, scale.energy_mm, grid)
    grey = _share(luminance, scale.luminance)
    rgb = np.empty((*grid.shape, 3), np.float32)
    for k in range(grid.shape[0]):  # slice by slice only to save memory: nothing is scaled by slice
        rgb[k] = _colour(grey[k], share[k], energy[k], scale)
    return ColourImage(rgb, grid)


def palette(share: npt.NDArray[np.floating], colours: str) -> Array:
    """Give the colours of a map at shares of its length, (..., 3)."""
    from matplotlib import colormaps

    return np.asarray(np.asarray(colormaps[colours](np.asarray(share, dtype=np.float64)))[..., :3], dtype=np.float32)


def _colour(grey: Array, share: Array, energy: Array, scale: ColourScale) -> Array:
    gain = 1.0 + scale.gain * np.sqrt(energy.astype(np.float64))
    luma = 1.0 - (1.0 - grey) ** gain
    colours = palette(share, scale.colours)
    fade = np.clip((share - GREY_UP_TO) / (FULL_FROM - GREY_UP_TO), 0.0, 1.0)
    strength = gain * fade**2 * (3.0 - 2.0 * fade)
    chroma = strength[..., None] * (colours - lightness(colours)[..., None])
    return with_lightness(luma[..., None] + chroma, luma)


def _energy(share: Array, energy_mm: float, grid: Geometry) -> Array:
    from scipy.ndimage import gaussian_filter

    x, y, z = grid.spacing_mm
    smooth = gaussian_filter(share * share, [energy_mm / z, energy_mm / y, energy_mm / x], mode="reflect")
    return np.asarray(np.clip(smooth, 0.0, 1.0), dtype=np.float32)


def _share(volume: Volume, ends: tuple[float, float]) -> Array:
    low, high = ends
    return np.asarray(np.clip((volume.array.astype(np.float32) - low) / (high - low), 0.0, 1.0), dtype=np.float32)


def _body(volume: Volume) -> npt.NDArray[Any]:
    low = BODY_SUV
    if volume.unit != "SUV":
        least, most = float(volume.array.min()), float(np.percentile(volume.array, 99.5))
        low = least + BODY_SHARE * (most - least)
    inside = volume.array[volume.array > low]
    return inside if inside.size else volume.array.ravel()


def _luminance_window(volumes: Sequence[Volume]) -> tuple[float, float]:
    if all(volume.unit == "HU" for volume in volumes):
        return SOFT_TISSUE_HU
    ends = [np.percentile(_body(volume), [1.0, 99.5]) for volume in volumes]
    low, high = float(min(end[0] for end in ends)), float(max(end[1] for end in ends))
    return low, low + (high - low if high > low else 1.0) / BRIGHTEST
