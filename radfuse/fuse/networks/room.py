"""How much a device can hold at once: less after each time its memory ran out, and the CPU last."""

import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch

from radfuse.errors import DataError
from radfuse.fuse import Array

log = logging.getLogger(__name__)


@dataclass
class Room:
    """Run work in portions that fit the device's memory, and remember what fitted.

    Parameters
    ----------
    device : ``cpu`` or ``cuda``; a GPU that cannot hold the least portion is given up for the CPU.
    portion : how much to take at once at first: the side of a tile, or a number of slices.
    least : the smallest portion worth trying.
    what : names the portion in messages: ``tiles of {} voxels``.
    """

    device: str
    portion: int
    least: int
    what: str

    def run(self, work: Callable[[str, int], Array]) -> Array:
        """Call ``work(device, portion)``, with smaller portions while memory runs out; says so once, at the end."""
        asked = self.device, self.portion
        while True:
            try:
                made = work(self.device, self.portion)
            except torch.OutOfMemoryError as error:
                reason = str(error).splitlines()[0] if str(error) else "out of memory"
            else:
                break
            self._shrink(reason, asked[1])
        if (self.device, self.portion) != asked:
            log.warning(
                "%s ran out of memory; fusing goes on in %s on %s",
                asked[0],
                self.what.format(self.portion),
                self.device,
            )
        return made

    def _shrink(self, reason: str, asked: int) -> None:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if self.portion > self.least:
            self.portion = max(self.least, self.portion // 2)
        elif self.device != "cpu":
            self.device, self.portion = "cpu", asked
        else:
            raise DataError(
                f"not enough memory to fuse in {self.what.format(self.portion)} on the CPU: {reason}",
                hint="Crop the images, choose a coarser align.spacing_mm, or use fewer --jobs.",
            )
