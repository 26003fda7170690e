"""What is seen of one registration: its sheet, and the two pictures that take turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from radfuse.data.subject import Subject
from radfuse.data.volume import Volume
from radfuse.report.checkerboard import checkerboard
from radfuse.report.edges import COLOUR as EDGE
from radfuse.report.edges import edges
from radfuse.report.misregistration import moves
from radfuse.report.mosaic import Panel, Pixels, mosaic
from radfuse.report.registration import Array, Pair, pairs
from radfuse.report.section import Flicker, Picture, Words, number, percent
from radfuse.report.slices import CONTOUR, window

if TYPE_CHECKING:
    import pandas as pd

SHOWN = ("axial", "coronal")
PANEL_PX, TALLEST_PX = 300, 420
NOTHING = (150, 158, 166)  # where a scan does not reach
BEFORE, AFTER = "by the headers", "registered"
LED_BACK = (
    "By the headers: the registered scan led back through the inverse of its transform, so that where it leaves the "
    "grid there is nothing to show (even grey)."
)


def sheet(pair: Pair) -> bytes:
    """Draw a scan with the reference's edges on it and tile by tile with it: PNG.

    A scan that was moved is shown before and after; of one that was not, it and the reference are shown alone too.
    """
    fixed, moving = pair.fixed.modality, pair.moving.modality
    states = [f"\n{BEFORE}", f"\n{AFTER}"] if pair.moved else [""]
    titles = [] if pair.moved else [fixed, moving]
    titles += [f"{moving}, {how} {fixed}{state}" for how in ("edges of", "tiles with") for state in states]
    return mosaic([_Views(pair, plane).row() for plane in SHOWN], titles)


def frames(pair: Pair) -> tuple[bytes, bytes]:
    """Draw the reference and the scan, of one size, to be shown in turn: two PNG.

    Each title says which of the two it is, so that a viewer that shows the first alone does not hide the other.
    """
    states = [f"\n{BEFORE}", f"\n{AFTER}"] if pair.moved else [""]
    views = [_Views(pair, plane) for plane in SHOWN]

    def one(moving: bool) -> bytes:
        name = pair.moving.modality if moving else pair.fixed.modality
        row = [each.frame(scan, moving) for scan in range(len(states)) for each in views]
        turn = "2 of 2" if moving else "1 of 2"
        told = states if moving else ["\n" * state.count("\n") for state in states]  # as high as the other's
        return mosaic([row], [f"{name} ({turn}){state}" for state in told for _ in views])

    return one(False), one(True)


class _Views:
    """The slices of a pair in one plane."""

    def __init__(self, pair: Pair, plane: str) -> None:
        self.pair, self.plane = pair, plane
        self.fixed: Array = np.asarray(pair.place.cut(pair.fixed.array, plane), dtype=np.float64)
        after = pair.after(plane)
        self.scans = [pair.before(plane), after] if pair.moved else [after]
        height_mm, width_mm = pair.place.size_mm(plane)
        self.spacing_mm = (height_mm / self.fixed.shape[0], width_mm / self.fixed.shape[1])
        tallest_mm = max(pair.place.size_mm(each)[0] for each in SHOWN)
        per_mm = min(PANEL_PX / width_mm, TALLEST_PX / tallest_mm)
        self.size_px = (max(1, round(width_mm * per_mm)), max(1, round(height_mm * per_mm)))
        self.windows = [window(pair.fixed, pair.region, self.fixed), window(pair.moving, pair.region, after)]
        self.border = _border(pair.place.cut(pair.region.inside, plane))

    def row(self) -> list[Panel]:
        """The panels of a sheet."""
        alone = [] if self.pair.moved else [self._panel(self._still(), self.border)]
        alone += [] if self.pair.moved else [self._panel(self._grey(self.scans[0]), self.border)]
        found = [(line, EDGE) for line in edges(self.fixed, self.spacing_mm, self.windows[0])]
        edged = [self._panel(self._grey(scan), found) for scan in self.scans]
        colours = "inferno" if self.pair.moving.unit == "SUV" else "copper"
        tiles = [
            checkerboard(self._still(), _pixels(scan, self.windows[1], colours), self.spacing_mm) for scan in self.scans
        ]
        return [*alone, *edged, *(self._panel(each, self.border) for each in tiles)]

    def frame(self, scan: int, moving: bool) -> Panel:
        """The reference, or one state of the scan."""
        return self._panel(self._grey(self.scans[scan]) if moving else self._still(), self.border)

    def _still(self) -> Pixels:
        return _pixels(self.fixed, self.windows[0], _greys(self.pair.fixed))

    def _grey(self, scan: Array) -> Pixels:
        return _pixels(scan, self.windows[1], _greys(self.pair.moving))

    def _panel(self, pixels: Pixels, lines: Sequence[tuple[Array, str]]) -> Panel:
        return Panel(pixels, self.size_px, self.plane, lines)


def _greys(volume: Volume) -> str:
    """Dark is high for SUV, as in the clinic."""
    return "gray_r" if volume.unit == "SUV" else "gray"


def _border(inside: npt.NDArray[np.bool_]) -> list[tuple[Array, str]]:
    from contourpy import contour_generator

    lines = contour_generator(z=np.pad(inside.astype(np.float64), 1)).lines(0.5)
    return [(np.asarray(line, dtype=np.float64) - 1.0, CONTOUR) for line in lines]


def _pixels(shown: Array, ends: tuple[float, float], colours: str) -> Pixels:
    from matplotlib import colormaps

    low, high = ends
    share = np.clip((np.nan_to_num(shown, nan=low) - low) / (high - low), 0.0, 1.0)
    pixels = np.asarray(colormaps[colours](share, bytes=True))[..., :3]
    return np.where(np.isfinite(shown)[..., None], pixels, np.asarray(NOTHING, dtype=np.uint8)).astype(np.uint8)


def seen(
    subject: Subject, found: Mapping[str, Mapping[str, Any]], sensitivity: pd.DataFrame | None = None
) -> list[Words | Picture | Flicker]:
    """Give the pictures of an aligned subject, numbers first; nothing where there is no second scan.

    Parameters
    ----------
    found : what align found, by subject.
    sensitivity : what a shift would do, as in `radfuse.report.misregistration.shifts`.
    """
    blocks: list[Words | Picture | Flicker] = []
    registered = (found.get(subject.id) or {}).get("registration") or {}
    for pair in pairs(subject):
        fixed, moving = pair.fixed.modality, pair.moving.modality
        where = f"{moving} on {fixed}" + (f", {BEFORE} and {AFTER}" if pair.moved else ", as the headers have it")
        shift = moves(sensitivity, subject.id, moving)
        blocks += [
            Words(" ".join((f"{subject.id}, {where}.", numbers(registered.get(moving) or {}), shift)).strip()),
            Picture(
                f"alignment-{subject.id}-{moving}.png",
                sheet(pair),
                f"{moving} of {subject.id} with the edges of {fixed}, and tile by tile with it; region outlined",
                "Edges should lie on the borders they are of; lines should run on from tile to tile. " + LED_BACK
                if pair.moved
                else "Edges should lie on the borders they are of; lines should run on from tile to tile.",
                kept=False,
            ),
            Flicker(
                frames(pair),
                (f"{fixed} of {subject.id}", f"{moving} of {subject.id} in the same place"),
                f"Point at the picture, or select it: {fixed} and {moving} take turns. Nothing should jump.",
            ),
        ]
    return blocks


def numbers(registered: Mapping[str, Any]) -> str:
    """Put into words what was measured of a registration."""
    if "similarity_before" not in registered:
        return str(registered.get("reason") or "Nothing was measured.")
    taken = bool(registered.get("accepted"))
    inverse = registered.get("inverse_consistency_mm")
    return (
        f"Similarity {number(registered['similarity_before'], 2)} by the headers, "
        f"{number(registered.get('similarity_after'), 2)} {'registered' if taken else 'as proposed and not taken'}; "
        f"{'moved' if taken else 'proposed to move'} by {number(registered.get('displacement_mm'), 1)} mm at the "
        f"corner that moves most; overlap {percent(registered.get('overlap'))}; "
        + (f"registering back ends {number(inverse, 1)} mm off." if inverse is not None else "not registered back.")
    )
