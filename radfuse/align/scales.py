"""The steps that bring one scan to its scale, and the regions that they may look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, PlainSerializer, SerializationInfo

from radfuse.align.grid import carry, fit_to_image
from radfuse.align.intensity import Intensity
from radfuse.data.deformation import Motion, straight
from radfuse.data.region import MAIN
from radfuse.data.subject import Subject
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask, Volume
from radfuse.errors import DataError


def _listed(given: object) -> object:
    if isinstance(given, list | tuple):
        if not given:
            raise ValueError("an intensity scale has at least one step, found none; `physical` keeps the numbers")
        return given
    return (given,)


def _dumped(steps: tuple[Intensity, ...], info: SerializationInfo) -> Any:
    """Write one step as it was given: a list of one would make every earlier result another's."""
    found = [step.model_dump(mode=info.mode, context=info.context) for step in steps]
    return found[0] if len(found) == 1 else found


Scale = Annotated[tuple[Intensity, ...], BeforeValidator(_listed), PlainSerializer(_dumped)]
"""One method of the family, or several that follow one another: ``zscore``, ``[n4, zscore]``."""


def rescaled(volume: Volume, steps: tuple[Intensity, ...], regions: Mapping[str, Mask]) -> Volume:
    """Take a scan through its steps, on its own grid."""
    for step in steps:
        volume = step.build()(volume, regions)
    return volume


def named(steps: tuple[Intensity, ...]) -> str:
    """Say the steps in one word: n4+zscore."""
    return "+".join(step.method for step in steps)


class Drawn(Mapping[str, Mask]):
    """The regions of a subject on the grid of one scan, made when they are asked for.

    A region that is not drawn on this scan is carried over from the first that has it, by the registrations; what a
    deformation bends is left out, since it cannot be turned round exactly.

    Parameters
    ----------
    subject : with its regions on its scanners' grids.
    name : the scan's.
    masks : its main regions, put on their images' grids.
    transforms : from the common space to each scan's.
    """

    def __init__(
        self, subject: Subject, name: str, masks: Mapping[str, Mask], transforms: Mapping[str, Motion]
    ) -> None:
        self._found = {MAIN: masks, **{region: own for region, own in subject.regions.items() if own}}
        self._subject, self._name, self._transforms = subject, name, transforms

    def __getitem__(self, region: str) -> Mask:
        drawn, grid = self._found[region], self._subject.volumes[self._name].geometry
        source = self._name if self._name in drawn else next(iter(drawn))
        mask, _ = fit_to_image(drawn[source], self._subject.volumes[source].geometry, f"{source} {region}")
        if source != self._name:
            to_common = np.linalg.inv(straight(self._transforms[self._name]).array)
            mask = carry(mask, grid, Transform.from_array(straight(self._transforms[source]).array @ to_common))
        if not mask.voxels:
            raise DataError(
                f"the region {region!r} has no voxel on {self._name}, whose intensity scale is read there",
                hint=f"Draw it on {self._name}, or choose another `over` for align.intensity.{self._name}.",
            )
        return mask

    def __contains__(self, region: object) -> bool:
        return region in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)
