"""Draw with matplotlib's objects, without pyplot: the same data gives the same bytes on every run."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Draw = Callable[["Figure"], None]

# Okabe & Ito's palette (2008), told apart by readers with any common colour vision.
BLUE, ORANGE, GREEN, PINK, SKY, VERMILION = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"
GREY, INK = "#767676", "#222222"
SERIES = (BLUE, VERMILION, GREEN, ORANGE, PINK, SKY, INK, GREY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
FUSION = {
    "single": BLUE,
    "image": SKY,
    "early": VERMILION,
    "intermediate": ORANGE,
    "late": GREEN,
    "baseline": GREY,
}

DPI = 130

STYLE: Any = {
    "svg.hashsalt": "radfuse",
    "svg.fonttype": "path",
    "text.parse_math": False,  # a subject or scanner called $x$ is a name, not a formula
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "font.size": 9,
}


def svg(draw: Draw, width_in: float, height_in: float) -> bytes:
    """Draw on a figure of its own, as SVG."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    return _render(
        draw, width_in, height_in, 100, lambda figure: partial(FigureCanvasSVG(figure).print_svg, metadata=metadata)
    )


def png(draw: Draw, width_in: float, height_in: float) -> bytes:
    """Draw on a figure of its own, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    metadata = {"Software": None}
    return _render(
        draw, width_in, height_in, DPI, lambda figure: partial(FigureCanvasAgg(figure).print_png, metadata=metadata)
    )


def scan_png(draw: Draw, width_in: float, height_in: float) -> bytes:
    """Draw on a figure of its own, as PNG of 256 colours: a third of the size, and enough for grey images."""
    from PIL import Image

    full = png(draw, width_in, height_in)
    image = Image.open(io.BytesIO(full)).convert("RGB")
    small = image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    small.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def _render(
    draw: Draw, width_in: float, height_in: float, dpi: float, printer: Callable[[Figure], Callable[[io.BytesIO], None]]
) -> bytes:
    import matplotlib
    from matplotlib import style
    from matplotlib.figure import Figure

    # The user's own matplotlibrc must not change the page.
    with style.context("default"), matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width_in, height_in), dpi=dpi, facecolor="white", layout="constrained")
        write, buffer = printer(figure), io.BytesIO()
        draw(figure)
        write(buffer)  # the canvas draws once; Figure.savefig would draw everything twice, for the same bytes
    return buffer.getvalue()


def bare(axes: Axes) -> None:
    """Take away ticks and frame, as images need."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
