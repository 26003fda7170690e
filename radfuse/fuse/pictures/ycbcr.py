"""Intensity substitution in luma and two colour differences."""

from typing import Literal

from pydantic import Field

from radfuse.data.colour import LUMA, lightness, with_lightness
from radfuse.fuse import Array
from radfuse.fuse.pictures import PictureFuser, PictureFusion


class YCbCr(PictureFusion):
    """Replace the luma Y = 0.299 R + 0.587 G + 0.114 B by the grey picture, and keep Cb and Cr [ITU-R BT.601].

    The colour space in which CDDFuse [Zhao et al., CVPR 2023] and others put the colours of PET and SPECT back on a
    fused luma. To fuse the luma by a method of the `fusion` family instead of replacing it, leave the colour method
    out.

    Differs from common practice: Cb and Cr are exactly kept wherever the colour stays in the gamut, and shrink together
    elsewhere; nothing is rounded to 8 bits on the way.
    """

    method: Literal["ycbcr"] = "ycbcr"
    share: float = Field(
        1.0, ge=0, le=1, description="Share of the grey picture in the new luma; the rest is the old luma."
    )

    def build(self) -> PictureFuser:
        """Make the fuser."""
        return PictureFuser(self._substitute)

    def _substitute(self, grey: Array, colour: Array) -> Array:
        old = lightness(colour, LUMA)
        return with_lightness(colour, old + self.share * (grey - old), LUMA)
