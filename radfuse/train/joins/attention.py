"""Attention over the modalities."""

from typing import Any, Literal, final

from radfuse.train.joins import Join


@final
class Attention(Join):
    """Average the encodings, each weighted by how much attention it draws [Ilse et al. 2018, arXiv:1802.04712, eq. 8].

    An encoding's attention depends on itself alone; the weights add up to one over the modalities that are there, so a
    missing modality leaves its share to the others.
    """

    method: Literal["attention"] = "attention"

    def build(self, units: int) -> Any:
        """Make the joiner."""
        from radfuse.train.steps.joiners import AttentionPooling

        return AttentionPooling(units)
