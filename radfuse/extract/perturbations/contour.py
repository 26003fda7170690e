"""Contour: somebody else drew the region."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveFloat, model_validator

from radfuse.data.volume import Mask, Volume
from radfuse.extract.perturbations import Perturb, Perturbation
from radfuse.extract.perturbations.moving import with_region

ITERATIONS = 5  # ITK's own default

FEWEST = 4
"""Supervoxels across the cube root of a region's volume: with fewer, chance would make another lesion of it."""


class Contour(Perturbation):
    """Draw the region anew along the image's own supervoxels [Zwanenburg et al. 2019].

    Supervoxels are SLIC's [Achanta et al. 2012, doi:10.1109/TPAMI.2012.120], from SimpleITK, so that edges in the
    image become possible contours. One of which ``always`` or more lies in the region is in; one of which less than
    ``never`` does is out; any other is in with the probability of its share. Volumes that share a region share the new
    one too, drawn on the reference.
    """

    method: Literal["contour"] = "contour"
    region_only: ClassVar[bool] = True
    supervoxel_mm: PositiveFloat = Field(
        6.0, description="Edge of a supervoxel, mm; regions smaller than a few of them get finer ones."
    )
    compactness: PositiveFloat = Field(
        0.3,
        description="What one edge length weighs against the image's range; small follows the image, noise included.",
    )
    always: float = Field(0.9, gt=0.0, le=1.0, description="Share inside from which a supervoxel is always in.")
    never: float = Field(0.2, ge=0.0, lt=1.0, description="Share inside below which a supervoxel is always out.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.never < self.always:
            raise ValueError(f"never ({self.never:g}) must lie below always ({self.always:g})")
        return self

    def build(self) -> Perturb:
        """Give the function."""

        def redraw(volume: Volume, mask: Mask, rng: np.random.Generator) -> tuple[Volume, Mask]:
            labels, box = supervoxels(volume, mask, self.supervoxel_mm, self.compactness)
            inside = mask.inside[box]
            count = int(labels.max()) + 1
            size = np.bincount(labels.ravel(), minlength=count)
            share = np.bincount(labels[inside], minlength=count) / np.maximum(size, 1)
            drawn = rng.random(count) < share
            chosen = (share >= self.always) | (drawn & (share >= self.never))
            if not chosen.any():
                chosen[int(np.argmax(share))] = True
            found = np.zeros_like(mask.inside)
            found[box] = chosen[labels]
            return volume, with_region(mask, found)

        return redraw


def supervoxels(
    volume: Volume, mask: Mask, edge_mm: float, compactness: float
) -> tuple[npt.NDArray[np.int64], tuple[slice, slice, slice]]:
    """Cut the surroundings of a region into supervoxels; give their numbers in a box, and the box.

    The image is cut at the 1st and 99th percentile of the box and brought to [0, 1] for it.
    """
    import SimpleITK as sitk

    spacing = np.asarray(mask.geometry.spacing_mm[::-1])
    edge_mm = min(edge_mm, float(np.cbrt(1000.0 * mask.volume_ml)) / FEWEST)
    edge = np.maximum(1, np.round(edge_mm / spacing)).astype(int)
    where = np.argwhere(mask.inside)
    first, last = where.min(axis=0) - 2 * edge, where.max(axis=0) + 2 * edge
    z, y, x = (slice(max(0, int(a)), int(b) + 1) for a, b in zip(first, last, strict=True))
    values = volume.array[z, y, x].astype(np.float64)
    low, high = np.percentile(values, (1, 99))
    scaled = np.clip((values - low) / max(high - low, np.finfo(float).tiny), 0.0, 1.0).astype(np.float32)
    slic = sitk.SLICImageFilter()
    slic.SetNumberOfThreads(1)
    slic.SetSuperGridSize([int(n) for n in edge[::-1]])
    slic.SetSpatialProximityWeight(compactness)
    slic.SetMaximumNumberOfIterations(ITERATIONS)
    slic.SetEnforceConnectivity(True)
    slic.SetInitializationPerturbation(True)
    labels = sitk.GetArrayFromImage(slic.Execute(sitk.GetImageFromArray(scaled)))
    return labels.astype(np.int64), (z, y, x)
