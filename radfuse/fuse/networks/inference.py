"""Run a fusion network over a whole volume, tile by tile, with bounded memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import pairwise, product
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from radfuse.fuse import Array

Box = tuple[slice, slice, slice]
Part = TypeVar("Part")


def fuse_tiled(
    network: nn.Module, volumes: Sequence[Array], halo: int, tile: int, device: str, precision: str
) -> Array:
    """Fuse whole volumes; the tiles overlap by the network's reach, so they meet without a seam.

    Parameters
    ----------
    network : takes padded volumes (1, 1, z, y, x) and gives one that is smaller by ``halo`` on every side.
    volumes : arrays (z, y, x) of one shape.
    halo : how far the network reaches.
    tile : side of a tile's result, voxels; bounds the memory, not the answer.
    device : where the network is.
    precision : ``float32`` or ``bfloat16`` for the convolutions; the values themselves stay float32.
    """
    padded = [np.pad(volume, halo, mode="edge") for volume in volumes]
    fused = np.empty(volumes[0].shape, dtype=np.float32)

    def work(box: Box) -> None:
        reach = tuple(slice(side.start, side.stop + 2 * halo) for side in box)
        fused[box] = _fuse_tile(network, [array[reach] for array in padded], device, precision)

    share_out(work, list(tiles(fused.shape, tile)), device)
    return fused


def share_out(work: Callable[[Part], None], parts: Sequence[Part], device: str) -> None:
    """Do the parts of a piece of work; on the CPU by several threads.

    Threads share out the parts, and each part is computed by one thread: a convolution shared by several threads
    rounds differently with their number, and results must not depend on how busy or large the machine is.
    """
    if torch.device(device).type != "cpu":
        _do(work, parts)
        return
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(
            max(1, min(threads, len(parts))), initializer=partial(torch.set_num_threads, 1)
        ) as pool:
            list(pool.map(work, parts))
    finally:
        torch.set_num_threads(threads)


def _do(work: Callable[[Part], None], parts: Iterable[Part]) -> None:
    for part in parts:
        work(part)


def _fuse_tile(network: nn.Module, given: Sequence[Array], device: str, precision: str) -> Array:
    layout = torch.channels_last_3d if precision == "bfloat16" else torch.contiguous_format
    autocast = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bfloat16")
    with torch.inference_mode(), strict(), autocast:
        tensors = [torch.from_numpy(np.ascontiguousarray(array))[None, None].to(device) for array in given]
        fused: Array = network([t.contiguous(memory_format=layout) for t in tensors])[0, 0].float().cpu().numpy()
    return fused


def tiles(shape: tuple[int, ...], tile: int) -> Iterator[Box]:
    """Cut a shape into boxes of at most ``tile`` voxels a side, of nearly equal length along each axis.

    Examples
    --------
    >>> [box[0] for box in tiles((5, 1, 1), 4)]
    [slice(0, 3, None), slice(3, 5, None)]
    """
    sides = []
    for length in shape:
        edges = np.ceil(np.linspace(0, length, -(-length // tile) + 1)).astype(int).tolist()
        sides.append([slice(start, stop) for start, stop in pairwise(edges)])
    yield from product(*sides)


def strict() -> AbstractContextManager[Any]:
    """Do the same float32 arithmetic on every device: no TF32, no algorithm picked by timing."""
    if not torch.cuda.is_available():
        return nullcontext()
    flags: AbstractContextManager[Any] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    return flags
