"""Habitats: parts of the lesion that look alike in several modalities at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from radfuse.data.subject import Subject
from radfuse.data.volume import Mask
from radfuse.errors import DataError
from radfuse.extract.regions import Derive, Derived, Region
from radfuse.extract.regions.outlines import large_enough, mask_of

Values = npt.NDArray[np.float64]


class Habitats(Region):
    """Cut a region by k-means over its standardised aligned modalities [doi:10.1158/1078-0432.CCR-14-0990].

    Each subject is clustered alone: centres learned over the cohort would have to be learned in each fold, or they
    leak. What makes `habitat1` mean the same in every patient is the order: from the lowest to the highest mean of
    one modality.
    """

    method: Literal["habitats"] = "habitats"
    modalities: tuple[str, ...] = Field(
        ("CT", "PET"), min_length=1, description="What is clustered; a subject that lacks one has no habitats."
    )
    clusters: PositiveInt = Field(3, ge=2, description="How many habitats.")
    order_by: str = Field("PET", description="The modality whose mean, from low to high, numbers the habitats.")
    starts: PositiveInt = Field(10, description="Starts of k-means; the tightest result counts.")
    seed: NonNegativeInt = Field(0, description="Decides where k-means starts.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.order_by not in self.modalities:
            raise ValueError(f"order_by names {self.order_by!r}, which is not among {', '.join(self.modalities)}")
        if len(set(self.modalities)) != len(self.modalities):
            raise ValueError(f"modalities names one twice: {', '.join(self.modalities)}")
        return self

    def names(self, name: str) -> tuple[str, ...]:
        """Give the numbered names, the lowest first."""
        return tuple(f"{name}{number + 1}" for number in range(self.clusters))

    @property
    def images(self) -> tuple[str, ...]:
        """Give the modalities that are clustered."""
        return self.modalities

    def build(self) -> Derive:
        """Give the function that clusters a subject."""

        def derive(subject: Subject, masks: Mapping[str, Mask]) -> tuple[Derived, ...]:
            try:
                region = self._region(subject, masks)
                voxels = self._voxels(subject, region)
                labels = numbered(voxels, self._column, self.clusters, self.starts, self.seed)
            except DataError as error:
                return tuple(Derived(why=error.message) for _ in range(self.clusters))
            return tuple(self._derived(number, labels, voxels, region, masks) for number in range(self.clusters))

        return derive

    @property
    def _sorted(self) -> list[str]:
        # The order in which a config lists modalities must not change a sum.
        return sorted(self.modalities)

    @property
    def _column(self) -> int:
        return self._sorted.index(self.order_by)

    def _region(self, subject: Subject, masks: Mapping[str, Mask]) -> Mask:
        missing = [name for name in self._sorted if name not in subject.volumes or name not in masks]
        if missing:
            raise DataError(f"habitats are made of {', '.join(self._sorted)}; the subject lacks {', '.join(missing)}")
        region = masks[self.order_by]
        grids = [subject.volumes[name].geometry for name in self._sorted] + [mask.geometry for mask in masks.values()]
        if not all(region.geometry.matches(grid) for grid in grids):
            raise DataError("the modalities of habitats must share a grid; run `radfuse align` first")
        # Padding would make a habitat of its own.
        return region.within(subject.seen_by_all(self._sorted))

    def _voxels(self, subject: Subject, region: Mask) -> Values:
        columns = [subject.volumes[name].array[region.inside].astype(np.float64) for name in self._sorted]
        voxels = np.stack(columns, axis=1)
        if not np.isfinite(voxels).all():
            raise DataError("the region has voxels that are not finite")
        if len(np.unique(voxels, axis=0)) < self.clusters:
            raise DataError(f"the region has fewer than {self.clusters} different voxels")
        return voxels

    def _derived(
        self, number: int, labels: npt.NDArray[np.intp], voxels: Values, region: Mask, masks: Mapping[str, Mask]
    ) -> Derived:
        found = np.zeros_like(region.inside)
        found[region.inside] = labels == number
        made = mask_of(found, region)
        means = voxels[labels == number].mean(axis=0)
        said = ", ".join(f"mean {name} {mean:.6g}" for name, mean in zip(self._sorted, means, strict=True))
        return large_enough(dict.fromkeys(masks, made), self.min_voxels, f"{(labels == number).sum()} voxels, {said}")


def numbered(voxels: Values, by: int, clusters: int, starts: int, seed: int) -> npt.NDArray[np.intp]:
    """Cluster voxels, and number the clusters by the mean of one column, from low to high.

    The answer does not depend on the order of the voxels: they are sorted before they are clustered.

    Parameters
    ----------
    voxels : (n, modalities), each in its own unit; each column is standardised, a constant one counts for nothing.
    by : the column whose means number the clusters; equal means go by the other columns.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    order = np.lexsort(voxels.T)
    ordered = voxels[order]
    spread = ordered.std(axis=0)
    standard = (ordered - ordered.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    with threadpool_limits(1):  # sums over threads would round differently
        found = KMeans(clusters, n_init=starts, random_state=seed).fit(standard).labels_
    means = np.stack([ordered[found == cluster].mean(axis=0) for cluster in range(clusters)])
    columns = [by, *(column for column in range(voxels.shape[1]) if column != by)]
    ranked = np.lexsort([means[:, column] for column in reversed(columns)])
    number = np.empty(clusters, dtype=np.intp)
    number[ranked] = np.arange(clusters)
    labels = np.empty(len(voxels), dtype=np.intp)
    labels[order] = number[found]
    return labels
