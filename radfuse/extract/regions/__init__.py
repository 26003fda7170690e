"""Regions derived from those that were drawn: a ring around the tumour, its core, its habitats. Each file is one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydantic import Field, PositiveInt

from radfuse.component import Component
from radfuse.data.subject import Subject
from radfuse.data.volume import Mask


@dataclass(frozen=True)
class Derived:
    """One derived region of one subject.

    Parameters
    ----------
    masks : by volume; empty where the subject has no such region.
    why : why it has none.
    notes : what is worth knowing of it, for the diagnostics.
    """

    masks: Mapping[str, Mask] = field(default_factory=dict)
    why: str = ""
    notes: str = ""


Derive = Callable[[Subject, Mapping[str, Mask]], tuple[Derived, ...]]


class Region(Component):
    """Make regions out of a drawn one, from one subject alone: nothing is learned across subjects, so nothing leaks."""

    of: str | None = Field(None, description="The region that it is made from; none given: the main one.")
    min_voxels: PositiveInt = Field(27, description="A derived region with fewer voxels is not measured.")

    def names(self, name: str) -> tuple[str, ...]:
        """Give the regions that it makes under a name of the config; they follow from the settings alone."""
        return (name,)

    def outline(self, mask: Mask) -> Mask | None:
        """Give the region as far as a mask tells without any image; None where it takes the images."""
        return None

    @property
    def needs(self) -> tuple[str, ...]:
        """Give the further regions that it is made with."""
        return () if self.of is None else (self.of,)

    @property
    def images(self) -> tuple[str, ...]:
        """Give the modalities that it looks at."""
        return ()

    @property
    def reach_mm(self) -> float:
        """Say how far it goes beyond the region that it is made from."""
        return 0.0

    @abstractmethod
    def build(self) -> Derive:
        """Give the function of a subject and the masks, by volume, that it starts from.

        It answers one `Derived` for each of `names`, in that order.
        """
