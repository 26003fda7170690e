"""Registration: find where a patient lay in another scan. Each file is one method."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

from radfuse.component import Component
from radfuse.data.deformation import Motion
from radfuse.data.volume import Mask, Volume


@dataclass(frozen=True)
class Registered:
    """A map and how it came about.

    Parameters
    ----------
    transform : from points of the fixed image to points of the moving one.
    findings : plain JSON values: accepted, reason, and what was measured.
    """

    transform: Motion
    findings: dict[str, Any]


class Register(Protocol):
    """What a registration builds."""

    def __call__(self, fixed: Volume, moving: Volume, region: Mask | None = None) -> Registered:
        """Find the map from the fixed image to the moving one; each comes on its own grid. Same input, same answer.

        Parameters
        ----------
        region : what matters most, in the fixed space; only a member that is told to look around it heeds it.
        """


class Registration(Component):
    """Find the transform between two scans of a patient, or keep the one that their headers give."""

    @abstractmethod
    def build(self) -> Register:
        """Give the function."""

    @property
    def needs_shared_space(self) -> bool:
        """Whether scans that share no part of space by their headers are beyond it."""
        return True
