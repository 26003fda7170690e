"""Side by side."""

from typing import Any, Literal, final

from radfuse.train.joins import Join


@final
class Concatenate(Join):
    """Put the encodings side by side and pass them through a layer: every modality always counts as much.

    The learned token of a missing modality stands in its place.
    """

    method: Literal["concatenate"] = "concatenate"

    def build(self, units: int) -> Any:
        """Make the joiner."""
        from radfuse.train.steps.joiners import SideBySide

        return SideBySide(units)
