"""The box around the body, inside which volumes are judged: air all around flatters SSIM and CC and starves EN."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

ABOVE = 0.1
"""Body is where any source exceeds this on the normalised scale (-824 HU, SUV 2), as in `radfuse.fuse.pca`.

Not 0: the noise of air lies above -1024 HU, and the box would always be the whole field of view.
"""


def body_box(sources: Sequence[npt.NDArray[np.floating]]) -> tuple[slice, ...]:
    """Give the smallest box that holds the body; the whole array where there is none.

    Parameters
    ----------
    sources : arrays of one shape, normalised so that background is 0.

    Examples
    --------
    >>> body_box([np.array([[0.0, 0.0, 0.0, 0.0], [0.0, 0.9, 0.5, 0.0]])])
    (slice(1, 2, None), slice(1, 3, None))
    """
    body = np.logical_or.reduce([source > ABOVE for source in sources])
    if not body.any():
        return tuple(slice(0, length) for length in body.shape)
    box = []
    for axis in range(body.ndim):
        others = tuple(k for k in range(body.ndim) if k != axis)
        inside = np.flatnonzero(body.any(axis=others))
        box.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return tuple(box)


def describe_box(box: Sequence[slice], shape: Sequence[int]) -> str:
    """Say which voxels are judged.

    Examples
    --------
    >>> describe_box((slice(1, 5), slice(0, 9), slice(2, 9)), (6, 9, 9))
    'body box of 4 x 9 x 7 voxels (z, y, x) in 6 x 9 x 9'
    """
    inner = " x ".join(str(part.stop - part.start) for part in box)
    return f"body box of {inner} voxels (z, y, x) in {' x '.join(map(str, shape))}"
