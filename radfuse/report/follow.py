"""What of a subject can be shown in colour: its functional volumes, over time, on one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from radfuse.data.modality import unit_of
from radfuse.data.names import FUSED, fused_modalities, is_fused
from radfuse.data.subject import Subject
from radfuse.data.volume import Volume
from radfuse.errors import ConfigError
from radfuse.report.colour import ColourImage, ColourScale, common_scale, enhance, rounded_up

FUNCTIONAL = ("SUV", "counts")
PREFERRED = "mdafuse"


@dataclass(frozen=True, eq=False)
class Followed:
    """One functional modality of a subject, at one or more time points.

    Parameters
    ----------
    subject : its id.
    uptake : the functional volumes, in the subject's order; of several, the first is what the others are compared to.
    luminance : by the uptake's name, what is shown in lightness: a fused volume of it, or else the anatomy.
    scale : the colours of all of them.
    """

    subject: str
    uptake: Sequence[Volume]
    luminance: Mapping[str, Volume]
    scale: ColourScale = field(repr=False)

    @property
    def names(self) -> list[str]:
        """The names of the functional volumes."""
        return [volume.modality for volume in self.uptake]

    @cached_property
    def images(self) -> dict[str, ColourImage]:
        """The colours of each time point."""
        return {each.modality: enhance(self.luminance[each.modality], each, self.scale) for each in self.uptake}

    @cached_property
    def changes(self) -> dict[str, npt.NDArray[Any]]:
        """How much more uptake each later time point has than the first, in its unit."""
        first, *later = self.uptake
        return {each.modality: each.array.astype(np.float32) - first.array for each in later}

    @property
    def change_limit(self) -> float:
        """The end of the symmetric scale of the changes: the largest 99.5th percentile of their size, rounded up."""
        sizes = [float(np.percentile(np.abs(change), 99.5)) for change in self.changes.values()]
        return rounded_up(max(sizes, default=0.0), self.scale.unit)

    def record(self) -> dict[str, Any]:
        """What the pictures show, to be written beside them."""
        shown = {"luminance": {name: volume.modality for name, volume in self.luminance.items()}}
        found: dict[str, Any] = {"subject": self.subject, "uptake": self.names, **shown, "scale": self.scale.record()}
        if self.changes:
            found["change"] = {"against": self.names[0], "limit": self.change_limit}
        return found | {"for": "display only"}


def follow(subject: Subject, fused: str | None = None, **settings: Any) -> list[Followed]:
    """Find what can be shown: each functional modality, with its time points (PET_early, PET_late) together.

    Parameters
    ----------
    subject : aligned, and fused where there is to be a fused luminance.
    fused : the volume to show in lightness for all of them; None: a fused volume that holds the functional one and as
        few others of its kind as possible, that of mdafuse first, or else the first anatomical volume.
    settings : of `ColourScale`, where they are not the default.
    """
    sources = [name for name in subject.volumes if not is_fused(name)]
    functional = [name for name in sources if unit_of(name) in FUNCTIONAL]
    if fused is not None and fused not in subject.volumes:
        raise ConfigError(
            f"{subject.id} has no volume {fused!r}", hint=f"Its volumes: {', '.join(subject.volumes) or 'none'}."
        )
    found = []
    for kind in dict.fromkeys(name.partition("_")[0] for name in functional):
        names = [name for name in functional if name.partition("_")[0] == kind]
        shown = {name: fused or _fused_with(subject, name, sources, functional) for name in names}
        if None in shown.values():
            # One kind of lightness for all time points, or they could not share a scale.
            anatomy = next((name for name in sources if name not in functional), None)
            shown = dict.fromkeys(names, anatomy)
        light = {name: subject.volumes[given] for name, given in shown.items() if given is not None}
        if light:
            uptake = [subject.volumes[name] for name in names]
            found.append(Followed(subject.id, uptake, light, common_scale(list(light.values()), uptake, **settings)))
    return found


def _fused_with(subject: Subject, name: str, sources: Sequence[str], functional: Sequence[str]) -> str | None:
    """Choose a fused volume that holds ``name``; None where there is none."""
    parts = {each: fused_modalities(each, sources) for each in subject.volumes if is_fused(each)}

    def order(each: str) -> tuple[int, bool, int]:
        method = each.removeprefix(FUSED).partition("-")[0]
        return sum(part in functional for part in parts[each]), method != PREFERRED, len(parts[each])

    return min((each for each, inside in parts.items() if name in inside), key=order, default=None)
