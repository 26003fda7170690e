"""The further regions of a subject: those that were drawn, then those that are derived from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from radfuse.data.subject import Subject
from radfuse.data.volume import Mask
from radfuse.errors import ConfigError
from radfuse.extract.regions import Derived, Region


def further_regions(subject: Subject, derived: Mapping[str, Region]) -> dict[str, Derived]:
    """Give every region beside the main one, by name: drawn ones first, in alphabetical order.

    The names follow from the study and its settings, never from the subject: what it does not have comes with the
    reason and without a mask.

    Parameters
    ----------
    subject : with the regions that were drawn.
    derived : settings by name, in the order they are made; a later one may start from an earlier one.
    """
    found = {name: _drawn(subject, name) for name in sorted({*subject.regions, *subject.absent})}
    for name, region in derived.items():
        names = region.names(name)
        taken = [each for each in names if each in found]
        if taken:
            raise ConfigError(
                f"extract.regions.{name} would be a second region {taken[0]!r}", hint="Give it another name."
            )
        base = _base(subject, region, name)
        if isinstance(base, str):
            made: tuple[Derived, ...] = tuple(Derived(why=base) for _ in names)
        else:
            made = region.build()(subject, base)
        found |= dict(zip(names, made, strict=True))
        subject = replace(
            subject,
            regions={**subject.regions, **{n: each.masks for n, each in found.items() if each.masks}},
            absent={**subject.absent, **{n: each.why for n, each in found.items() if not each.masks}},
        )
    return found


def reach_of(derived: Mapping[str, Region]) -> float:
    """Say how far the derived regions go beyond those that were drawn, in millimetres; a ring around a ring adds up."""
    found: dict[str, float] = {}
    for name, region in derived.items():
        reach = region.reach_mm + found.get(region.of or "", 0.0)
        found |= dict.fromkeys(region.names(name), reach)
    return max(found.values(), default=0.0)


def _drawn(subject: Subject, name: str) -> Derived:
    masks = subject.regions.get(name, {})
    return Derived(masks) if masks else Derived(why=subject.absent.get(name, f"{name} is not drawn"))


def _base(subject: Subject, region: Region, name: str) -> Mapping[str, Mask] | str:
    """Give the masks to start from, or why there are none."""
    if region.of is None:
        return subject.masks
    masks = subject.regions.get(region.of)
    if masks:
        return masks
    if region.of in subject.absent:
        return f"it is made from {region.of}: {subject.absent[region.of]}"
    known = ", ".join(sorted({*subject.regions, *subject.absent})) or "no other"
    raise ConfigError(
        f"extract.regions.{name} is made from {region.of!r}; beside the main region there is {known}",
        hint="Leave `of` out for the main region.",
    )
