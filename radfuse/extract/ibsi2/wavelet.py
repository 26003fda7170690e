"""Separable wavelets, undecimated."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt, field_validator, model_validator

from radfuse.extract.ibsi2.filter import (
    BOUNDARY,
    DIMENSIONS,
    POOLING,
    Array,
    Boundary,
    Dimensions,
    Filter,
    Pooling,
    Respond,
    Spacing,
    reach,
)
from radfuse.extract.ibsi2.separable import respond as respond_separably


class Wavelet(Filter):
    """Give one band of the stationary wavelet transform [IBSI 2 manual, code 25BO].

    Level j filters what the low-pass of the levels before left, with kernels of 2^(j-1) - 1 zeros after each tap.
    Band and level count voxels, not millimetres.
    """

    code: ClassVar[str] = "25BO"
    method: Literal["wavelet"] = "wavelet"
    wavelet: str = Field("db3", description="A discrete wavelet by PyWavelets' name, such as haar, db2 or coif1.")
    band: str = Field("LLH", description="Low- or high-pass (L, H) along x, y and, in three dimensions, z.")
    level: PositiveInt = Field(1, description="Which decomposition level to give; each doubles the scale.")
    pooling: Pooling = Field("average", description=POOLING)
    dimensions: Dimensions = Field(3, description=DIMENSIONS)
    boundary: Boundary = Field("mirror", description=BOUNDARY)

    @field_validator("wavelet")
    @classmethod
    def _discrete(cls, wavelet: str) -> str:
        import pywt

        if wavelet not in pywt.wavelist(kind="discrete"):
            raise ValueError(f"unknown wavelet {wavelet!r}; `pywt.wavelist(kind='discrete')` lists the known ones")
        return wavelet

    @model_validator(mode="after")
    def _a_letter_for_each_axis(self) -> "Wavelet":
        if len(self.band) != self.dimensions or set(self.band) - set("LH"):
            raise ValueError(f"band {self.band!r} should be {self.dimensions} letters L or H, one for each axis")
        return self

    @property
    def name(self) -> str:
        """All settings in words."""
        wavelet = self.wavelet.replace(".", "-")
        return f"wavelet-{wavelet}-{self.band}-level-{self.level}-{self.pooling}-{self.dimensions}D-{self.boundary}"

    def reach_mm(self, spacing_mm: Spacing) -> Spacing:
        """The kernels of all levels together."""
        voxels = max(sum(len(kernel) // 2 for kernel in chain) for chain in self._chains())
        return reach((voxels, voxels, voxels), spacing_mm, self.dimensions, self.boundary)

    def build(self) -> Respond:
        """Give the function that filters."""
        chains = self._chains()

        def respond(array: Array, spacing_mm: Spacing) -> Array:
            return respond_separably(array, chains, self.boundary, self.pooling)

        return respond

    def _chains(self) -> list[list[Array]]:
        import pywt

        bank = pywt.Wavelet(self.wavelet)
        taps = {"L": bank.dec_lo, "H": bank.dec_hi}
        return [
            [_spread(taps[letter if level == self.level else "L"], level) for level in range(1, self.level + 1)]
            for letter in self.band
        ]


def _spread(taps: list[float], level: int) -> Array:
    """Put 2^(level-1) - 1 zeros after each tap, the last included [IBSI 2 manual, a trous]."""
    step = 2 ** (level - 1)
    kernel = np.zeros(len(taps) * step)
    kernel[::step] = taps
    return kernel
