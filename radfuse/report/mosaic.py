"""Panels of pixels with lines on them, laid out in rows under titles: many small pictures, drawn without axes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

Pixels = npt.NDArray[np.uint8]
Line = npt.NDArray[np.float64]

GAP_PX, FONT_PX, LINE_PX, STROKE_PX, LABEL_PX = 10, 15, 19, 2, 4
INK, PAPER = "#222222", "#FFFFFF"


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture.

    Parameters
    ----------
    pixels : (row, column, colour).
    size_px : width and height to be shown at; pixels become blocks, nothing is smoothed.
    label : written into the upper left corner, in a dark box.
    lines : points (column, row) in fractions of a pixel, counted from the middle of the first; each with its colour.
    """

    pixels: Pixels
    size_px: tuple[int, int]
    label: str = ""
    lines: Sequence[tuple[Line, str]] = ()

    def draw(self) -> Any:
        """Give it as an image of its own."""
        from PIL import Image, ImageDraw

        picture = Image.fromarray(np.ascontiguousarray(self.pixels)).resize(self.size_px, Image.Resampling.NEAREST)
        pen = ImageDraw.Draw(picture)
        scale = np.asarray(self.size_px) / (self.pixels.shape[1], self.pixels.shape[0])
        for line, colour in self.lines:
            pen.line([tuple(point) for point in ((line + 0.5) * scale).tolist()], colour, STROKE_PX, "curve")
        if self.label:
            # A box of its own: the picture under a label may be white, as PET in inverted greys is.
            left, top, right, bottom = pen.textbbox((LABEL_PX, LABEL_PX), self.label, _font())
            pen.rectangle((left - LABEL_PX, top - LABEL_PX, right + LABEL_PX, bottom + LABEL_PX), INK)
            pen.text((LABEL_PX, LABEL_PX), self.label, "white", _font())
        return picture


def mosaic(rows: Sequence[Sequence[Panel]], titles: Sequence[str]) -> bytes:
    """Lay panels out under a title for each column: PNG of 256 colours.

    Parameters
    ----------
    rows : of panels, top to bottom; a row is as high as its highest panel.
    titles : of the columns; of one or more lines.
    """
    from PIL import Image, ImageDraw

    widths = [max(row[place].size_px[0] for row in rows) for place in range(len(titles))]
    heights = [max(panel.size_px[1] for panel in row) for row in rows]
    head = LINE_PX * max(title.count("\n") + 1 for title in titles) + GAP_PX // 2
    size = (sum(widths) + GAP_PX * (len(widths) + 1), head + sum(heights) + GAP_PX * len(heights))
    sheet = Image.new("RGB", size, PAPER)
    pen, left = ImageDraw.Draw(sheet), GAP_PX
    for place, (title, width) in enumerate(zip(titles, widths, strict=True)):
        for line, text in enumerate(title.split("\n")):
            pen.text((left + width // 2, LINE_PX * line + LINE_PX // 2), text, INK, _font(), anchor="mm")
        top = head
        for row, height in zip(rows, heights, strict=True):
            sheet.paste(row[place].draw(), (left, top))
            top += height + GAP_PX
        left += width + GAP_PX
    buffer = io.BytesIO()
    small = sheet.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    small.save(buffer, "png", optimize=True)
    return buffer.getvalue()


@cache
def _font() -> FreeTypeFont:
    """The typeface of the charts, which comes with matplotlib: the same on every machine."""
    from pathlib import Path

    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", FONT_PX)
