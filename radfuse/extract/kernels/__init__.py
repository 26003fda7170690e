"""Compiled loops over the voxels of a region: what takes the time in extraction.

Every function takes and gives plain arrays, so that each can be tested against PyRadiomics' own C functions.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile a function at its first call, and keep the machine code on disk for the next process.

    numba keeps it beside the source, else in ``NUMBA_CACHE_DIR`` or the user's cache folder. Where none of them can
    be written it refuses to keep anything; then every process compiles anew, which takes seconds but works.
    """
    try:
        return cast(F, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:
        return cast(F, numba.njit(nogil=True)(function))
