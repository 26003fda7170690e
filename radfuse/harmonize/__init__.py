"""Harmonize: take the scanner out of the features and leave the patient in. Each file is one method."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

from radfuse.component import Component


class Harmonizer(Component):
    """A way to remove what scanners and sites add to the features."""

    @property
    def facts(self) -> tuple[str, ...]:
        """Columns of the subjects' table that it needs beside the batches and the protected covariates."""
        return ()

    def resolved(self, modalities: Sequence[str]) -> Self:
        """Give the same harmoniser for a table of these modalities, before a model is shown a part of its columns.

        An arm that looks at a fused image alone has no column that tells what the image was fused from.
        """
        return self

    @abstractmethod
    def build(self) -> Any:
        """Make an unfitted scikit-learn transformer of `FeatureTable.rows`.

        Its ``fit`` learns from the rows given and from nothing else, and never uses the outcome; its ``transform``
        treats each row by itself (a subject may have several) and returns the same columns and rows, with the feature
        columns changed and the context columns as they were. After ``fit`` it has ``report_``, what it did to each
        modality; ``flagged(rows)`` says, row by row, which modalities it leaves as they are because their batch was
        not fitted. Rows in which ``@missing.<modality>`` is 1 hold what an imputer put there: they take no part in
        that modality, whatever their label, come back as they are, and are not flagged.
        """
