"""Registration: find where a patient lay in another scan. Each file is one method."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from radfuse.component import Component
from radfuse.data.transform import Transform
from radfuse.data.volume import Volume


@dataclass(frozen=True)
class Registered:
    """A transform and how it came about.

    Parameters
    ----------
    transform : from points of the fixed image to points of the moving one.
    findings : plain JSON values: accepted, reason, and what was measured.
    """

    transform: Transform
    findings: dict[str, Any]


Register = Callable[[Volume, Volume], Registered]


class Registration(Component):
    """Find the transform between two scans of a patient, or keep the one that their headers give."""

    @abstractmethod
    def build(self) -> Register:
        """Give the function of ``(fixed, moving)``; each comes on its own grid. Same input, same answer."""
