"""Intensity substitution in intensity, hue and saturation."""

from typing import Literal

from pydantic import Field

from radfuse.data.colour import THIRDS, lightness, with_lightness
from radfuse.fuse import Array
from radfuse.fuse.pictures import PictureFuser, PictureFusion


class IHS(PictureFusion):
    """Replace the intensity (R + G + B) / 3 by the grey picture [Tu, Su, Shyu & Huang, Information Fusion 2:177, 2001].

    Computed as in the paper's fast form: what the intensity gains is added to all three channels, which leaves the hue
    alone. It has been the usual way to show PET over MR [Daneshvar & Ghassemian, Information Fusion 11:114, 2010].

    Differs from the paper: a colour that would leave the gamut grows paler instead of being cut off channel by channel,
    which would turn its hue; and uptake outside the anatomy can be kept by a ``share`` below 1.
    """

    method: Literal["ihs"] = "ihs"
    share: float = Field(
        1.0, ge=0, le=1, description="Share of the grey picture in the new intensity; the rest is the old intensity."
    )

    def build(self) -> PictureFuser:
        """Make the fuser."""
        return PictureFuser(self._substitute)

    def _substitute(self, grey: Array, colour: Array) -> Array:
        old = lightness(colour, THIRDS)
        return with_lightness(colour, old + self.share * (grey - old), THIRDS)
