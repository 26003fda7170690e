"""Crops to train on: random places, random modalities, flipped and turned by chance."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from radfuse.errors import DataError
from radfuse.fuse import Array

# The modalities of one patient or phantom, normalised, on one grid.
VolumeSet = Mapping[str, Array]


def draw(
    rng: np.random.Generator, sets: Sequence[VolumeSet], batch: int, shape: tuple[int, int, int], halo: int
) -> list[np.ndarray[Any, Any]]:
    """Draw crops of two or three modalities, each (batch, 1, z, y, x) and larger than ``shape`` by ``halo`` all around.

    A crop's axes are a random permutation of the patient's, so flat crops are axial, coronal or sagittal. Where a
    volume is smaller than a crop, and in the halo, it is continued by its edges; axes of length 1 get no halo.
    """
    available = sorted(set.intersection(*(set(volumes) for volumes in sets)))
    if len(available) < 2:
        raise DataError("the volumes to train on have fewer than two modalities in common")
    count = int(rng.integers(2, min(3, len(available)) + 1))
    names = rng.permutation(available)[:count]
    crops: list[list[Array]] = []
    for _ in range(batch):
        volumes = sets[int(rng.integers(len(sets)))]
        axes = rng.permutation(3)
        flips = tuple(axis for axis in range(3) if rng.random() < 0.5)
        lengths = [volumes[names[0]].shape[axis] for axis in axes]
        corner = [int(rng.integers(max(1, n - side + 1))) for n, side in zip(lengths, shape, strict=True)]
        around = [halo if side > 1 else 0 for side in shape]
        crops.append([np.flip(_cut(np.transpose(volumes[name], axes), corner, shape, around), flips) for name in names])
    return [np.stack([found[k] for found in crops])[:, np.newaxis].astype(np.float32) for k in range(count)]


def _cut(array: Array, corner: Sequence[int], shape: Sequence[int], around: Sequence[int]) -> Array:
    for axis, (start, side, halo) in enumerate(zip(corner, shape, around, strict=True)):
        places = np.arange(start - halo, start + side + halo).clip(0, array.shape[axis] - 1)
        array = array.take(places, axis)
    return array
