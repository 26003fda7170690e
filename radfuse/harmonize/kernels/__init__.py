"""Compiled loops of ComBat: sums over rows, the empirical Bayes iteration, and the change of each row.

Plain arrays in and out. Every loop runs over features without adding across them, so that the machine's vector width
changes no digit, and one row is treated the same whatever other rows there are.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile a function at its first call, and keep the machine code on disk for the next process.

    Where no folder for it can be written, every process compiles anew, which takes seconds but works. Division by zero
    gives infinity, as in NumPy; Python's exception would keep the loops from using the vector units.
    """
    try:
        return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
    except RuntimeError:
        return cast(F, numba.njit(nogil=True, error_model="numpy")(function))
