"""Separable filters: one chain of one-dimensional kernels for each axis, and their right-angle rotations."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from radfuse.extract.ibsi2.boundary import SCIPY_MODE
from radfuse.extract.ibsi2.filter import Array, Boundary, Pooling

Chain = Sequence[Array]


def convolved(array: Array, chain: Chain, axis: int, boundary: Boundary, mirrored: bool = False) -> Array:
    """Convolve along an axis with one kernel after the other; ``mirrored`` as if the image ran backwards.

    Kernels of even length have their centre on the right of the middle, so a mirrored one is not just reversed.
    """
    from scipy.ndimage import convolve1d

    part = np.flip(array, axis) if mirrored else array
    for kernel in chain:
        part = convolve1d(part, kernel, axis, mode=SCIPY_MODE[boundary])
    return np.flip(part, axis) if mirrored else part


def respond(array: Array, chains: Sequence[Chain], boundary: Boundary, pooling: Pooling) -> Array:
    """Filter with one chain for each of x, y (and z, unless only slices are filtered), pooled over rotations.

    Convolutions along different axes commute, so those that several rotations share are done once.
    """
    axes = range(2, 2 - len(chains), -1)
    if pooling == "none":
        for axis, chain in zip(axes, chains, strict=True):
            array = convolved(array, chain, axis, boundary)
        return array
    total = np.full(array.shape, -np.inf if pooling == "max" else 0.0)
    ways = _ways(chains)
    for response in _responses(array, chains, ways, boundary, axes):
        if pooling == "max":
            np.maximum(total, response, out=total)
        else:
            total += response
    return total if pooling == "max" else total / len(ways)


Way = tuple[tuple[int, bool], ...]


def _ways(chains: Sequence[Chain]) -> list[Way]:
    """Say which chain runs along which axis, and whether mirrored, in each proper rotation that makes a difference.

    Chains that are equal or symmetric make rotations alike, and always equally many of them, so that each kind
    counts once in a mean.
    """
    same = [next(j for j, other in enumerate(chains) if _equal(chain, other)) for chain in chains]
    even = [all(len(kernel) % 2 and np.array_equal(kernel, kernel[::-1]) for kernel in chain) for chain in chains]
    ways: set[Way] = set()
    for order in itertools.permutations(range(len(chains))):
        parity = np.linalg.det(np.eye(len(chains))[list(order)])
        for signs in itertools.product((1, -1), repeat=len(chains)):
            if parity * np.prod(signs) > 0:
                ways.add(tuple((same[i], sign < 0 and not even[i]) for i, sign in zip(order, signs, strict=True)))
    return sorted(ways)


def _equal(chain: Chain, other: Chain) -> bool:
    return len(chain) == len(other) and all(map(np.array_equal, chain, other))


def _responses(
    array: Array, chains: Sequence[Chain], ways: Sequence[Way], boundary: Boundary, axes: Sequence[int]
) -> Iterator[Array]:
    """Walk the tree of convolutions, axis by axis; its leaves are the responses."""
    if not axes:
        yield array
        return
    for (which, mirrored), group in itertools.groupby(ways, lambda way: way[0]):
        part = convolved(array, chains[which], axes[0], boundary, mirrored)
        yield from _responses(part, chains, [way[1:] for way in group], boundary, axes[1:])
