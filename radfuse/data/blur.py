"""How far a header says that an image is blurred: a full width at half maximum along each axis, or nothing."""

from __future__ import annotations

from radfuse.errors import DataError

COLUMN = "header_fwhm_mm"
"""The manifest's column that states it."""

Stated = tuple[float | None, float | None, float | None]
SEPARATOR, UNSTATED = " x ", "-"


def stated_of(given: object) -> Stated | None:
    """Read widths as a manifest writes them: one number for all axes, or x, y, z with ``-`` for what is not known.

    Examples
    --------
    >>> stated_of("5 x 5 x 3.5"), stated_of("- x - x 3"), stated_of(4), stated_of("")
    ((5.0, 5.0, 3.5), (None, None, 3.0), (4.0, 4.0, 4.0), None)
    """
    text = "" if given is None or given != given else str(given).strip()
    if not text:
        return None
    parts = [part.strip() for part in text.lower().split(SEPARATOR.strip())]
    try:
        widths = [None if part == UNSTATED else float(part) for part in parts]
    except ValueError:
        widths = []
    if len(widths) == 1:
        widths *= 3
    if len(widths) != 3 or not all(width is None or 0 <= width < float("inf") for width in widths):
        raise DataError(
            f"{COLUMN} is {text!r}, expected millimetres along x, y, z of the scan, such as `5 x 5 x 3` or `- x - x 3`",
            hint="Write - for an axis that the header says nothing of, or leave the field empty.",
        )
    x, y, z = widths
    return x, y, z


def stated_text(widths: Stated | None) -> str:
    """Write widths so that `stated_of` reads them again."""
    if widths is None:
        return ""
    return SEPARATOR.join(UNSTATED if width is None else f"{width:g}" for width in widths)
