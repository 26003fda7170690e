"""Tissue-masked fusion: the functional source where a tissue is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from radfuse.data.geometry import Geometry
from radfuse.errors import ConfigError, DataError
from radfuse.fuse import Array, Fuser, FusionMethod
from radfuse.fuse.roles import functional_first

# A tissue of which no voxel is this certain is no tissue map.
LEAST_FULL = 0.9


class TissueMask(FusionMethod):
    """Multiply the functional source by membership in a tissue, as in GM-PET [Song et al. 2021].

    The tissue is either a modality of its own (``tissue: GM``, a probability or mask made elsewhere, with a
    normalisation that leaves it in [0, 1]: ``normalisation: {GM: {kind: window, low: 0, high: 1}}``), or one of the
    classes that the anatomical source's intensities fall into. The scale of the functional source is kept; outside it
    is 0. Other sources play no part.

    Differs from the paper (Front Digit Health 3:637386), which segments grey matter of skull-stripped MR: classes
    here are by intensity alone, so skull and scalp must be gone, or be in no way.
    """

    flip_equivariant: ClassVar[bool] = True
    permutation_equivariant: ClassVar[bool] = True
    voxelwise_identity: ClassVar[bool] = False
    keeps_equal_sources: ClassVar[bool] = False
    # Thresholds are the whole volume's.
    context_voxels: ClassVar[int | None] = None

    method: Literal["tissue_mask"] = "tissue_mask"
    functional: str | None = Field(
        None, description="Modality that is masked; null: the first named PET, SPECT, PT or NM."
    )
    tissue: str | None = Field(None, description="Modality that is the tissue's membership in [0, 1]; null: segment.")
    anatomical: str | None = Field(
        None, description="Modality that is segmented; null: the first named MR, or else the first by name."
    )
    segmentation: Literal["otsu", "mixture"] = Field(
        "otsu", description="Classes by Otsu's thresholds [1979], or by a mixture of Gaussians."
    )
    classes: PositiveInt = Field(3, ge=2, le=6, description="Classes of intensity, with the background as one.")
    tissue_class: NonNegativeInt | None = Field(
        None,
        description="Which class is the tissue, from 0, the darkest (of 4 on skull-stripped T1, 2 is grey matter); "
        "null: the class, other than the darkest, that holds most of the functional source.",
    )
    membership: Literal["hard", "soft"] = Field("hard", description="In or out, or the probability of being in.")

    @model_validator(mode="after")
    def _settings_agree(self) -> TissueMask:
        if self.tissue_class is not None and self.tissue_class >= self.classes:
            raise ValueError(
                f"tissue_class counts from 0 and must be below classes, found {self.tissue_class} of {self.classes}"
            )
        if self.functional is not None and self.functional in (self.tissue, self.anatomical):
            raise ValueError(f"{self.functional} is named both as the functional source and as what masks it")
        return self

    def build(self, device: str) -> Fuser:
        """Make the fuser."""
        return Fuser(self._combine)

    def _combine(self, volumes: Sequence[Array], names: Sequence[str], grid: Geometry) -> Array:
        by_name = dict(zip(names, volumes, strict=True))
        for setting, name in (("tissue", self.tissue), ("anatomical", self.anatomical)):
            if name is not None and name not in by_name:
                raise ConfigError(
                    f"tissue_mask.{setting} is {name!r}, which is not among the fused modalities {', '.join(names)}",
                    hint="Add it to fuse.inputs, or name one of those.",
                )
        candidates = [name for name in names if name not in (self.tissue, self.anatomical)]
        if not candidates:
            raise ConfigError(
                f"tissue_mask has nothing to mask: {', '.join(names)} are all tissue or anatomy",
                hint="Fuse it with a functional modality.",
            )
        functional = candidates[functional_first(candidates, self.functional)[0]]
        if self.tissue is not None:
            return by_name[functional] * self._given(by_name[self.tissue])
        others = sorted((name for name in names if name != functional), key=lambda name: (name[:2] != "MR", name))
        return by_name[functional] * self._segmented(by_name[self.anatomical or others[0]], by_name[functional])

    def _given(self, tissue: Array) -> Array:
        low, high = float(tissue.min()), float(tissue.max())
        # A map under another normalisation may fit into [0, 1] and yet mean something else; empty is a legal tissue.
        if low < -1e-3 or high > 1 + 1e-3 or 0 < high < LEAST_FULL:
            raise DataError(
                f"the tissue map {self.tissue} goes from {low:g} to {high:g}; expected a membership that is 0 outside "
                "and 1 well inside the tissue",
                hint=f"Set fuse.normalisation to {{{self.tissue}: {{kind: window, low: 0, high: 1}}}} (high: its value "
                "inside the tissue), so that it is taken as it is.",
            )
        return (tissue >= 0.5).astype(np.float32) if self.membership == "hard" else tissue.clip(0, 1)

    def _segmented(self, anatomical: Array, functional: Array) -> Array:
        from radfuse.fuse.intensity_classes import classify

        found = classify(anatomical, self.classes, self.segmentation)
        which = self.tissue_class if self.tissue_class is not None else _most_active(found.labels, functional)
        return found.hard(which) if self.membership == "hard" else found.soft(which)


def _most_active(labels: npt.NDArray[np.intp], functional: Array) -> int:
    """Give the class with the largest sum of the functional source, leaving out the darkest if there are others."""
    held = np.bincount(labels.ravel(), weights=functional.ravel().astype(np.float64))
    return int(held[1:].argmax()) + 1 if len(held) > 1 else 0
