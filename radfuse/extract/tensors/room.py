"""How much of the work a device gets at once: less after its memory ran out, and the CPU last."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

log = logging.getLogger(__name__)

Made = TypeVar("Made")

# The largest tensor at once, in numbers: 256 MiB of float64, of which some five are alive together.
LARGEST = 2**25
# Smaller portions are not tried: the compiled loops on the CPU finish sooner.
LEAST = 64


@dataclass
class Room:
    """Cut work into portions that fit a device's memory, and remember what fitted.

    Parameters
    ----------
    device : ``cuda``, or ``cpu`` for the same tensors on the CPU.
    largest : how many numbers one tensor may have; halved each time the memory runs out.
    """

    device: str
    largest: int = LARGEST

    def run(self, work: Callable[[int], Made], width: int, instead: Callable[[], Made]) -> Made:
        """Call ``work(portion)``, with smaller portions while memory runs out, then ``instead()`` on the CPU.

        Parameters
        ----------
        work : does everything, so many voxels at once.
        width : numbers that the work needs for one voxel.
        instead : gives the same answer with compiled loops.
        """
        asked = self.largest
        while True:
            portion = max(LEAST, self.largest // width)
            try:
                made = work(portion)
            except torch.OutOfMemoryError as error:
                reason = str(error)
            else:
                break
            if portion == LEAST:
                return self._given_up(reason, instead)
            _empty()
            self.largest //= 2
        if self.largest != asked:
            log.warning("%s ran out of memory; texture goes on in portions of %d voxels", self.device, portion)
        return made

    def whole(self, work: Callable[[], Made], instead: Callable[[], Made]) -> Made:
        """Call ``work()``, which cannot be cut up; where it does not fit, ``instead()`` on the CPU."""
        try:
            return work()
        except torch.OutOfMemoryError as error:
            reason = str(error)
        return self._given_up(reason, instead)

    def _given_up(self, reason: str, instead: Callable[[], Made]) -> Made:
        _empty()
        why = reason.partition("\n")[0]
        log.warning("%s ran out of memory; texture is computed on the CPU instead: %s", self.device, why)
        return instead()

    def tensor(self, array: npt.NDArray[Any]) -> Any:
        """Bring whole numbers to the device as int64, fractions as float64."""
        kind = torch.float64 if array.dtype.kind == "f" else torch.int64
        return torch.from_numpy(np.array(array)).to(self.device).to(kind)


def _empty() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
