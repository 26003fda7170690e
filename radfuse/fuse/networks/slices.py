"""Run a two-dimensional fusion network over a volume, slice by slice."""

from collections.abc import Sequence

import numpy as np
import torch

from radfuse.errors import DataError
from radfuse.fuse import Array
from radfuse.fuse.networks.inference import share_out, strict
from radfuse.fuse.networks.published import COLUMNS, LEAST_SIDE, ColumnAffine, PublishedNet

AXIAL, CORONAL, SAGITTAL = 0, 1, 2


def fuse_sliced(
    network: PublishedNet,
    volumes: Sequence[Array],
    *,
    axis: int = AXIAL,
    at_once: int,
    device: str,
    skip_empty: bool = False,
) -> Array:
    """Fuse a volume from its slices across one axis.

    Parameters
    ----------
    network : already on the device, its layers in whatever precision it should compute in.
    volumes : arrays (z, y, x) of one shape. Slices with a side below `LEAST_SIDE` are continued by their edges for
        the network, and the result is cut back.
    axis : what the slices are stacked along.
    at_once : slices in a batch; it bounds the memory, not the answer. The CPU takes one for each thread.
    skip_empty : leave slices at 0 in which every source is 0.
    """
    stacks = [np.moveaxis(volume, axis, 0) for volume in volumes]
    _check_width(network, stacks[0].shape)
    fused = np.zeros(stacks[0].shape, dtype=np.float32)
    chosen = np.arange(len(fused))
    if skip_empty:
        chosen = chosen[np.any([stack.any(axis=(1, 2)) for stack in stacks], axis=0)]
    size = 1 if torch.device(device).type == "cpu" else at_once

    def work(which: np.ndarray) -> None:
        fused[which] = _fuse_slices(network, [stack[which] for stack in stacks], device)

    share_out(work, [chosen[start : start + size] for start in range(0, len(chosen), size)], device)
    return np.ascontiguousarray(np.moveaxis(fused, 0, axis))


def _fuse_slices(network: PublishedNet, slices: Sequence[Array], device: str) -> Array:
    rows, columns = slices[0].shape[1:]
    short = [max(0, LEAST_SIDE - side) for side in (rows, columns)]
    margins = [(0, 0), *((missing // 2, missing - missing // 2) for missing in short)]
    padded = [np.pad(part, margins, mode="edge")[:, np.newaxis] for part in slices]
    with torch.inference_mode(), strict():
        tensors = [torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in padded]
        made: Array = network(tensors)[:, 0].float().cpu().numpy()
    top, left = margins[1][0], margins[2][0]
    return made[:, top : top + rows, left : left + columns]


def _check_width(network: PublishedNet, shape: tuple[int, ...]) -> None:
    if isinstance(network.affine, ColumnAffine) and shape[2] != COLUMNS:
        raise DataError(
            f"`affine: column` has a scale for each of {COLUMNS} image columns; these slices have {shape[2]}",
            hint="Use `affine: channel`, which fits any width, or resample to that many columns.",
        )
