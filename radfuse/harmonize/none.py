"""No harmonisation: the features as they were measured."""

from typing import Any, Literal

from radfuse.harmonize import Harmonizer


class Untouched(Harmonizer):
    """Leave every feature as it is."""

    method: Literal["none"] = "none"

    def build(self) -> Any:
        """Make a transformer that returns what it is given."""
        from radfuse.harmonize.transformer import IdentityTransformer

        return IdentityTransformer()
