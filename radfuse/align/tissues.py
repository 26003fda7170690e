"""Regions that intensity scales look at and nobody measures: where a brain or a tissue comes from."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from string import Formatter
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from radfuse.align.intensity.tissue import BODY, OUTSIDE
from radfuse.component import Frozen
from radfuse.data.region import LEGAL_REGION, MAIN
from radfuse.data.subject import Subject

PLACES = ("image", "mask", "folder")
IMAGE = "image.nii.gz"
"""The file that a tool is given."""


class Tissue(Frozen):
    """Where the outline of a tissue is from.

    A tool is a program of the user's own; radfuse gives it the image as NIfTI in an empty folder and takes a label map
    on the same grid from it, whatever is not zero. Where the manifest draws the region for a subject, that outline
    counts and no tool runs.
    """

    of: Literal["manifest", "template", "tool"] = Field(
        "manifest",
        description="`manifest`: its column `region` draws it. `template`: align.template's mask, carried back to each "
        "scan. `tool`: `command` makes it.",
    )
    command: str = Field(
        "",
        description="What the tool is called with; {image}, {mask} and {folder} are filled in: "
        "`mri_synthstrip -i {image} -m {mask}`, or, with result brain_bet.nii.gz, "
        "`hd-bet -i {image} -o {folder}/brain.nii.gz --save_bet_mask`. It runs in {folder}: other files that it needs "
        "are given by their whole path.",
    )
    result: str = Field(
        "mask.nii.gz",
        pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$",
        description="File in {folder} that becomes the mask; it is {mask}.",
    )
    release: str = Field("", description="The tool's version, as you name it; results are remembered under it.")
    modality: str | None = Field(None, description="The scan that the tool is given; none given: the reference.")

    @model_validator(mode="after")
    def _can_run(self) -> Tissue:
        if (self.of == "tool") != bool(self.command.strip()):
            raise ValueError(f"`command` goes with `of: tool`; found of: {self.of}, command: {self.command!r}")
        if self.result == IMAGE:
            raise ValueError(f"`result` is {IMAGE}, which is the image itself: a tool that fails would go unnoticed")
        if self.of == "tool":
            try:
                parts = shlex.split(self.command)
                fields = {name for part in parts for _, name, _, _ in Formatter().parse(part) if name is not None}
            except ValueError as error:
                raise ValueError(f"`command` cannot be read: {error}") from error
            if "image" not in fields or not fields <= set(PLACES):
                raise ValueError(f"`command` must hold {{image}} and may hold {{mask}} and {{folder}}: {self.command}")
        return self

    def arguments(self, **places: str) -> list[str]:
        """Give the command's words with the places filled in; no shell reads them."""
        return [word.format(**places) for word in shlex.split(self.command)]


def _named(given: object) -> object:
    return {name: {"of": one} if isinstance(one, str) else one for name, one in given.items()} \
        if isinstance(given, Mapping) else given  # fmt: skip


Tissues = Annotated[dict[str, Tissue], BeforeValidator(_named)]
"""By name; `brain: template` is short for `brain: {of: template}`."""


def check(tissues: Mapping[str, Tissue], *, masked: bool) -> None:
    """Raise a ValueError where a name says something else already, or a mask is not there.

    Parameters
    ----------
    masked : whether there is a template with a mask.
    """
    for name, tissue in tissues.items():
        if not LEGAL_REGION.match(name):
            raise ValueError(f"tissues: {name!r} must be a letter, then letters, digits, _ or -, at most 32")
        if name in (MAIN, BODY, OUTSIDE):
            raise ValueError(f"tissues: {name!r} means something else in an intensity scale; take another name")
        if tissue.of == "template" and not masked:
            raise ValueError(f"tissues.{name} is the template's mask, which is not given: align.template.mask")


def measured(subject: Subject, tissues: Mapping[str, Tissue]) -> Subject:
    """Leave out the regions that only scales look at."""
    if not tissues:
        return subject
    regions = {name: own for name, own in subject.regions.items() if name not in tissues}
    absent = {name: why for name, why in subject.absent.items() if name not in tissues}
    return replace(subject, regions=regions, absent=absent)
