"""When the memory of a GPU runs out: the same method on the CPU. Networks take smaller tiles first, see `Room`."""

import logging
from collections.abc import Sequence

from radfuse.data.geometry import Geometry
from radfuse.fuse import Array, Fuser, FusionMethod

log = logging.getLogger(__name__)


def build_for(method: FusionMethod, device: str) -> Fuser:
    """Build a fuser that works on a device as long as its memory suffices, and says when it does not."""
    fuser = method.build(device)
    if device == "cpu":
        return fuser

    def combine(volumes: Sequence[Array], names: Sequence[str], grid: Geometry) -> Array:
        import torch

        try:
            return fuser.combine(volumes, names, grid)
        except torch.OutOfMemoryError:
            log.warning("%s ran out of memory on %s; this volume is fused on the CPU", method.title, device)
        torch.cuda.empty_cache()
        return method.build("cpu").combine(volumes, names, grid)

    return Fuser(combine)
