"""Time the fusion of a pair by method, precision and device: ``python benchmarks/fuse.py --size 128 128 96``."""

import argparse
import time

import numpy as np
import torch

from radfuse.data.geometry import Geometry
from radfuse.fuse import FusionMethod
from radfuse.fuse.mdafuse import MdAFuse


def seconds(method: FusionMethod, pair: list[np.ndarray], grid: Geometry, device: str, repeats: int) -> list[float]:
    """Time the fusing of one pair, after one warm-up; building and reading weights is left out."""
    fuser = method.build(device)
    fuser(pair, ["CT", "PET"], grid)
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        fuser(pair, ["CT", "PET"], grid)
        taken.append(time.perf_counter() - start)
    return taken


def main() -> None:
    """Print one line for each method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=3, default=(128, 128, 96), help="voxels along x, y, z")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tiles", type=int, nargs="+", default=[48])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    grid = Geometry(tuple(arguments.size), (2.0, 2.0, 2.0))
    rng = np.random.default_rng(0)
    pair = [rng.uniform(0, 1, grid.shape).astype(np.float32) for _ in range(2)]
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    print(f"{' x '.join(map(str, arguments.size))} voxels, {arguments.threads} threads, torch {torch.__version__}")
    for name in FusionMethod.members():
        if name == "mdafuse":
            continue
        taken = seconds(FusionMethod.choose(name), pair, grid, "cpu", arguments.repeats)
        print(f"{name:10} {'cpu':5} {'':9} {'':9} median {np.median(taken):7.3f} s  least {min(taken):7.3f} s")
    for device in devices:
        for precision in ("float32", "bfloat16"):
            for tile in arguments.tiles:
                taken = seconds(MdAFuse(precision=precision, tile=tile), pair, grid, device, arguments.repeats)
                print(
                    f"{'mdafuse':10} {device:5} {precision:9} tile {tile:4} median {np.median(taken):7.3f} s  "
                    f"least {min(taken):7.3f} s"
                )


if __name__ == "__main__":
    main()
