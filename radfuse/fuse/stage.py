"""Fuse: add fused volumes to a subject."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, field_validator, model_validator

from radfuse.component import Stage
from radfuse.data.geometry import Geometry
from radfuse.data.names import fused_name, is_fused
from radfuse.data.subject import Subject
from radfuse.data.volume import Mask, Volume
from radfuse.errors import GeometryError, RadfuseError
from radfuse.fuse import Array, Fuser, FusionMethod
from radfuse.fuse.average import Average
from radfuse.fuse.dwt3d import WaveletDiscrete
from radfuse.fuse.fallback import build_for
from radfuse.fuse.maximum import Maximum
from radfuse.fuse.mdafuse import MdAFuse
from radfuse.fuse.normalisation import DEFAULTS, Normalisation, normalisation_for, normalise


class Fuse(Stage):
    """Make fused volumes out of a subject's modalities, on the grid that they share."""

    name: ClassVar[str] = "fuse"
    version: ClassVar[int] = 3

    methods: tuple[FusionMethod, ...] = Field(
        (Average(), Maximum(), WaveletDiscrete(), MdAFuse()), description="Fusion methods; each adds its own volumes."
    )
    inputs: tuple[tuple[str, ...], ...] | None = Field(
        None, description="Sets of modalities to fuse; null: all of a subject's modalities as one set."
    )
    normalisation: dict[str, Normalisation] = Field(
        DEFAULTS,
        description="By modality, or by the part of its name before _, how its values become [0, 1]: a `window` in "
        "the volume's unit, or the volume's own `spread`. What is not given keeps its default.",
    )

    @field_validator("methods")
    @classmethod
    def _one_of_each(cls, methods: tuple[FusionMethod, ...]) -> tuple[FusionMethod, ...]:
        names = [method.title for method in methods]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"{', '.join(twice)} is listed twice; fused volumes are named by method, so the two would share a "
                "name. Give each setting a `label` of its own"
            )
        return methods

    @field_validator("inputs")
    @classmethod
    def _sets_of_two(cls, inputs: tuple[tuple[str, ...], ...] | None) -> tuple[tuple[str, ...], ...] | None:
        for group in inputs or ():
            if len(set(group)) < 2 or len(set(group)) != len(group):
                raise ValueError(f"a set of inputs names two or more different modalities, found {list(group)}")
        sets = [tuple(sorted(group)) for group in inputs or ()]
        if len(set(sets)) != len(sets):
            raise ValueError(f"the same set of inputs is listed twice: {[list(group) for group in inputs or ()]}")
        return inputs

    @model_validator(mode="before")
    @classmethod
    def _keep_defaults(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and isinstance(values.get("normalisation"), Mapping):
            return {**values, "normalisation": {**DEFAULTS, **values["normalisation"]}}
        return values

    def __call__(self, subject: Subject, device: str = "cpu") -> Subject:
        """Add a fused volume and its region for every method and set of inputs.

        The point-spread-matched volumes are fused where the subject has them. A set of which the subject lacks a
        modality is left out and recorded under ``skipped``. A fused volume is where the scans of all its modalities
        are, and 0 elsewhere; at the edges of the scans its inputs go on, so that no padding is fused in.

        Parameters
        ----------
        subject : volumes on one grid, with their masks.
        device : ``cpu`` or ``cuda``, for the networks.
        """
        volumes, masks = dict(subject.volumes), dict(subject.masks)
        regions = {region: dict(own) for region, own in subject.regions.items()}
        seen = dict(subject.seen)
        sources = {
            name: subject.matched.get(name, volume).gone_on(subject.seen.get(name))
            for name, volume in subject.volumes.items()
            if not is_fused(name)
        }
        sets = self.inputs if self.inputs is not None else (tuple(sources),)
        used, skipped = _usable(sets, sources, subject)
        grid = _shared_grid({name: sources[name] for group in used for name in group}, masks)
        normalised: dict[str, Array] = {}
        maps: dict[str, Any] = {}
        for name in dict.fromkeys(name for group in used for name in group):
            normalised[name], affine = normalise(sources[name], normalisation_for(name, self.normalisation))
            maps[name] = affine.record()
        made: dict[str, Any] = {}
        for method in self.methods if used else ():
            fuser = build_for(method, device)
            for group in used:
                name, shared = fused_name(method.title, group), subject.seen_by_all(group)
                fused = _fuse(fuser, group, normalised, grid, name, subject.id)
                if shared is not None:
                    seen[name] = shared
                    fused = fused.with_array(np.where(shared.inside, fused.array, np.float32(0)))
                volumes[name] = fused
                part = next((part for part in group if part in masks), None)
                if part is not None:
                    masks[name] = masks[part]
                    for own in regions.values():
                        if part in own:
                            own[name] = own[part]
                made[name] = {
                    "settings": method.model_dump(mode="json"),
                    "inputs": list(group),
                    "point_spread_matched": [part for part in group if part in subject.matched],
                }
        findings = {"normalisation": maps, "fused": made, "skipped": skipped}
        after = replace(subject, volumes=volumes, masks=masks, regions=regions, seen=seen)
        return after.with_findings(self.name, findings)

    def require(self) -> None:
        """Raise when weights of the user's own are not there, are others than meant, or fit no such network."""
        for method in self.methods:
            if method.trained_weights is not None:
                method.build("cpu")

    def only(self, names: Collection[str]) -> "Fuse":
        """Give a stage of the same settings that makes no more than it must for some of its fused volumes."""

        def needed(method: FusionMethod, groups: Iterable[tuple[str, ...]] | None) -> bool:
            if groups is None:  # the set of inputs is each subject's own
                return any(name.startswith(fused_name(method.title, ())) for name in names)
            return any(fused_name(method.title, group) in names for group in groups)

        methods = tuple(method for method in self.methods if needed(method, self.inputs))
        inputs = self.inputs and tuple(g for g in self.inputs if any(needed(method, [g]) for method in methods))
        return self.model_copy(update={"methods": methods, "inputs": inputs})


def _usable(
    sets: tuple[tuple[str, ...], ...], sources: Mapping[str, Volume], subject: Subject
) -> tuple[list[tuple[str, ...]], dict[str, str]]:
    used, skipped = [], {}
    for group in sets:
        absent = [name for name in group if name not in sources]
        if absent:
            skipped["_".join(sorted(group))] = f"no {', '.join(absent)}"
        elif len(group) < 2:
            skipped["_".join(group)] = "one modality alone cannot be fused"
        elif _apart(group, subject):
            skipped["_".join(sorted(group))] = "the scans show no part of the region in common"
        else:
            used.append(group)
    return used, skipped


def _apart(group: tuple[str, ...], subject: Subject) -> bool:
    """Whether no voxel of the region is in the scans of all modalities."""
    regions = [subject.masks[part] for part in group if part in subject.masks]
    return bool(regions) and not regions[0].within(subject.seen_by_all(group)).voxels


def _shared_grid(sources: Mapping[str, Volume], masks: Mapping[str, Mask]) -> Geometry:
    if not sources:
        return Geometry((1, 1, 1), (1.0, 1.0, 1.0))
    first, *others = sources
    grid = sources[first].geometry
    for name in others:
        if not grid.matches(sources[name].geometry):
            raise _other_grid(first, f"{name} image", grid.differences(sources[name].geometry))
    for name in sources:
        if name in masks and not grid.matches(masks[name].geometry):
            raise _other_grid(first, f"{name} mask", grid.differences(masks[name].geometry))
    return grid


def _other_grid(first: str, other: str, differences: str) -> GeometryError:
    return GeometryError(
        f"{first} image and {other} do not share a grid: {differences}",
        hint="Run `radfuse align` first; fusing never resamples.",
    )


def _fuse(
    fuser: Fuser, group: tuple[str, ...], normalised: Mapping[str, Array], grid: Geometry, name: str, subject: str
) -> Volume:
    try:
        array = fuser([normalised[part] for part in group], group, grid)
    except RadfuseError as error:
        error.add_note(f"while making {name} of subject {subject!r}")
        raise
    return Volume(array, grid, name, "fused")
