"""The dual-tree complex wavelet transform along any axes of a volume, on torch.

Two wavelet trees run side by side along every axis, the second between the samples of the first; together they make the
real and imaginary part of a coefficient whose magnitude hardly changes when the volume is shifted. The samples of both
trees are kept interleaved in one array: even places are tree a, odd places tree b. The volume goes on mirrored beyond
its edges, which exchanges the trees, so that a flipped volume of a length that needs no padding gives flipped bands.

Filters: near-symmetric (5, 7) taps at level 1 and quarter-shift 10 taps after [Kingsbury, Appl Comput Harmon Anal
10:234, 2001; Selesnick, Baraniuk & Kingsbury, IEEE Signal Process Mag 22(6):123, 2005].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# near_sym_a: the middle tap and those at distance 1, 2, ... Low-pass filters add up to 1. The high-pass filters are the
# other side's low-pass with every other sign changed, which makes the bank reconstruct perfectly.
FIRST_LOW = (3 / 5, 1 / 4, -1 / 20)
FIRST_BACK_LOW = (170 / 280, 73 / 280, -15 / 280, -3 / 280)
FIRST_HIGH = tuple(-tap * (-1) ** k for k, tap in enumerate(FIRST_BACK_LOW))
FIRST_BACK_HIGH = tuple(-tap * (-1) ** k for k, tap in enumerate(FIRST_LOW))

# qshift_a: orthonormal, its centre a quarter of a sample early. Tree b has it reversed, a quarter of a sample late.
LATER_LOW = (
    0.0511304052838317, -0.0139753702468888, -0.109836051665971, 0.263839561058938, 0.766628467793037,
    0.563655710127052, 0.000873622695217097, -0.100231219507476, -0.00168968127252815, -0.00618188189211644,
)  # fmt: skip
LATER_HIGH = tuple(tap * (-1) ** k for k, tap in enumerate(reversed(LATER_LOW)))


def split(band: Tensor, axis: int, first: bool) -> tuple[Tensor, Tensor]:
    """Split a band into its low and high half along an axis.

    Parameters
    ----------
    band : of even length along the axis at its first split, of a multiple of 4 after; then both trees, interleaved.
    axis : along which to split.
    first : whether the axis has not been split yet. The first split keeps the length (one tree becomes two), each
        later one halves it.
    """
    if first:
        return _symmetric(band, axis, FIRST_LOW), _symmetric(band, axis, FIRST_HIGH)
    count, mirrored = band.shape[axis] // 4, _mirrored(band, axis, 8)
    halves = []
    for taps in (LATER_LOW, LATER_HIGH):
        trees = [
            _sum([tap * _every(mirrored, axis, tree + 2 * k, 4, count) for k, tap in enumerate(order)])
            for tree, order in enumerate((taps, taps[::-1]))
        ]
        halves.append(_interleaved(trees, axis))
    return halves[0], halves[1]


def merge(low: Tensor, high: Tensor, axis: int, first: bool) -> Tensor:
    """Undo `split`."""
    if first:
        return _symmetric(low, axis, FIRST_BACK_LOW) + _symmetric(high, axis, FIRST_BACK_HIGH)
    count, places = low.shape[axis] // 2, range(len(LATER_LOW))
    parts = []
    for odd in (0, 1):
        for tree in (0, 1):
            terms = []
            for band, taps in ((_mirrored(low, axis, 4), LATER_LOW), (_mirrored(high, axis, 4), LATER_HIGH)):
                order = taps[::-1] if tree else taps
                terms += [order[k] * _every(band, axis, 8 - (k - odd) + tree, 2, count) for k in places if k % 2 == odd]
            parts.append(_sum(terms))
    return _interleaved(parts, axis)


def to_complex(band: Tensor, axes: Sequence[int]) -> Tensor:
    """Combine the trees into complex coefficients, one per direction.

    The volume's sum of squares is kept. Along the first axis tree a is the real part and tree b the imaginary one;
    every further axis doubles the directions, as (p + iq) and (p - iq), each over sqrt 2.

    Parameters
    ----------
    band : both trees interleaved along ``axes``; at least one axis.
    axes : which have been split.

    Returns
    -------
    Complex, (direction, z, y, x), with half of the length along each of the axes.
    """
    import torch

    first, *others = axes
    directions = [torch.complex(*_trees(band, first))]
    for axis in others:
        pairs = [_trees(part, axis) for part in directions]
        directions = [(p + sign * 1j * q) / 2**0.5 for p, q in pairs for sign in (1, -1)]
    return torch.stack(directions)


def to_real(coefficients: Tensor, axes: Sequence[int]) -> Tensor:
    """Undo `to_complex`."""
    first, *others = axes
    directions = list(coefficients.unbind(0))
    for axis in reversed(others):
        pairs = zip(directions[::2], directions[1::2], strict=True)
        directions = [_interleaved(((u + v) / 2**0.5, (u - v) / (2**0.5 * 1j)), axis) for u, v in pairs]
    return _interleaved((directions[0].real, directions[0].imag), first)


def _symmetric(band: Tensor, axis: int, taps: Sequence[float]) -> Tensor:
    """Filter with a middle tap and equal taps on either side."""
    reach, length = len(taps) - 1, band.shape[axis]
    mirrored = _mirrored(band, axis, reach)
    pairs = [
        taps[k] * (mirrored.narrow(axis, reach - k, length) + mirrored.narrow(axis, reach + k, length))
        for k in range(1, reach + 1)
    ]
    return _sum([taps[0] * band, *pairs])


def _mirrored(band: Tensor, axis: int, reach: int) -> Tensor:
    """Go on beyond both ends, mirrored about the edge between voxels."""
    import torch

    length = band.shape[axis]
    place = torch.arange(-reach, length + reach, device=band.device) % (2 * length)
    return band.index_select(axis, torch.minimum(place, 2 * length - 1 - place))


def _every(band: Tensor, axis: int, start: int, step: int, count: int) -> Tensor:
    inner = band.narrow(axis, start, step * (count - 1) + 1)
    return inner[(slice(None),) * axis + (slice(None, None, step),)]


def _trees(band: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    count = band.shape[axis] // 2
    return _every(band, axis, 0, 2, count), _every(band, axis, 1, 2, count)


def _interleaved(parts: Sequence[Tensor], axis: int) -> Tensor:
    import torch

    return torch.stack(list(parts), axis + 1).flatten(axis, axis + 1)


def _sum(terms: Sequence[Tensor]) -> Tensor:
    total = terms[0].clone()
    for term in terms[1:]:
        total += term
    return total
