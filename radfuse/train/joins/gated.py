"""Gates that look at all modalities."""

from typing import Any, Literal, final

from radfuse.train.joins import Join


@final
class Gated(Join):
    """Mix the modalities unit by unit, by gates that look at all encodings [Arevalo et al. 2017, arXiv:1702.01992].

    For two modalities this is the paper's gated multimodal unit, ``z * h_1 + (1 - z) * h_2``; for more, its ``z`` and
    ``1 - z`` become a softmax over the modalities that are there. A missing modality has no gate and no share; the
    other gates see its token, so they may know that it is missing.
    """

    method: Literal["gated"] = "gated"

    def build(self, units: int) -> Any:
        """Make the joiner."""
        from radfuse.train.steps.joiners import GatedUnit

        return GatedUnit(units)
