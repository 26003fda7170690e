"""Regions that a mask alone tells: the same work for every volume that shares the mask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from radfuse.data.volume import Mask
from radfuse.extract.regions import Derived


def per_mask(masks: Mapping[str, Mask], make: Callable[[Mask], Mask]) -> dict[str, Mask]:
    """Make a region for each volume; volumes that share a mask share the region."""
    found: dict[str, Mask] = {}
    for names in sharing(masks):
        made = make(masks[names[0]])
        found |= dict.fromkeys(names, made)
    return found


def sharing(masks: Mapping[str, Mask]) -> Iterator[list[str]]:
    """Group the volumes whose masks are the same region of the same grid."""
    groups: list[list[str]] = []
    for name, mask in masks.items():
        for group in groups:
            other = masks[group[0]]
            if mask is other or (mask.geometry == other.geometry and np.array_equal(mask.inside, other.inside)):
                group.append(name)
                break
        else:
            groups.append([name])
    yield from groups


def mask_of(inside: npt.NDArray[np.bool_], like: Mask) -> Mask:
    """Put a region on the grid of another."""
    return Mask(inside.astype(np.uint8), like.geometry)


def large_enough(masks: Mapping[str, Mask], min_voxels: int, notes: str = "") -> Derived:
    """Give the region, or say that it is too small."""
    small = [(mask.voxels, name) for name, mask in masks.items() if mask.voxels < min_voxels]
    if small:
        voxels, name = min(small)
        return Derived(why=f"it has {voxels} voxels in {name}, fewer than min_voxels ({min_voxels})")
    return Derived(dict(masks), notes=notes)
