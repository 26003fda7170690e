"""Time fusion side by side: per pair of slices, per volume, and beside reading: ``python benchmarks/fuse.py``.

The peer is the published network as anyone would run it: eager, NCHW, float32, batch-norms apart. Ours is the same
function with the batch-norms folded in, channels last and, where asked, bfloat16; and `mdafuse`, the volumetric
default. Rates of one plain matrix product are printed too, since they bound every network.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from radfuse.data.geometry import Geometry
from radfuse.data.reading.images import read_volume
from radfuse.data.volume import Volume
from radfuse.fuse import FusionMethod
from radfuse.fuse.mdafuse import MdAFuse
from radfuse.fuse.mdafuse_published import SHIPPED, SHIPPED_SHA256, MdAFusePublished
from radfuse.fuse.networks.published import PublishedNet, ready
from radfuse.fuse.networks.weights import load_weights, read_weights

SIDE = 256
TIMED = 2  # slices of a volume that the peer is timed on
PRODUCTS = 203.67e9  # of a pair of 256 x 256 slices


def seconds(work: Callable[[], object], repeats: int, device: str = "cpu") -> float:
    """The least of several timings, after one that does not count.

    One thread is timed by its own processor time, so that other programs on the machine do not count.
    """
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    taken = []
    for _ in range(repeats + 1):
        start = clock()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        taken.append(clock() - start)
    return min(taken[1:])


def rate(device: str, kind: torch.dtype) -> float:
    """Products a second of a large matrix product: what the arithmetic allows."""
    side = 2048 if device == "cpu" else 8192
    matrix = torch.randn(side, side, device=device).to(kind)
    return side**3 / seconds(lambda: matrix @ matrix, 3, device)


def published() -> PublishedNet:
    """The network with its shipped weights, as a plain module."""
    network = PublishedNet()
    load_weights(network, read_weights(SHIPPED, SHIPPED_SHA256), str(SHIPPED))
    return network.eval()


def slices(device: str, batch: int, repeats: int) -> None:
    """Print seconds for a pair of slices by each way to run the networks."""
    torch.manual_seed(0)
    pair = [torch.rand(batch, 1, SIDE, SIDE, device=device) for _ in range(2)]
    plain = published().to(device)
    rows: list[tuple[str, float]] = []
    with torch.inference_mode():
        rows.append(("published, eager NCHW float32", seconds(lambda: eager(plain, pair), repeats, device) / batch))
        for precision in ("float32", "bfloat16"):
            quick = ready(plain, precision)
            taken = seconds(lambda quick=quick: quick(pair), repeats, device) / batch
            rows.append((f"published, ours, {precision}", taken))
    rows += slabs(device, repeats)
    print(f"\nSeconds for a pair of {SIDE} x {SIDE} slices on {device}, batches of {batch}")
    for name, taken in rows:
        print(f"{name:40} {taken:9.4f} s {1 / taken:9.1f} pairs/s {rows[0][1] / taken:8.1f} x the first")
    for kind in (torch.float32, torch.bfloat16):
        bound = PRODUCTS / rate(device, kind)
        print(f"{'arithmetic alone, ' + str(kind)[6:]:40} {bound:9.4f} s (matrix product of the same many terms)")


def eager(network: PublishedNet, pair: list[torch.Tensor]) -> torch.Tensor:
    """Run the layers in the memory order that torch makes by default."""
    together = torch.cat(pair).contiguous()
    coarse, fine, multi = network.coarse(together), network.fine(together), network.multi(together)
    own, wide = network.affine(coarse, "coarse"), network.affine(fine, "fine")
    joined = torch.maximum(sum(wide.chunk(2)), sum(own.chunk(2)))
    scales = network.affine(0.5 * sum(multi.chunk(2)), "multi")
    return network.last(torch.tanh(0.5 * (network.affine(network.structure(joined), "structure") + scales)))


def slabs(device: str, repeats: int) -> list[tuple[str, float]]:
    """Time for one slice of `mdafuse` and the average, which see volumes: a slab of 48 slices, shared out."""
    shape = (48, SIDE, SIDE)
    rows = []
    for precision in ("float32", "bfloat16"):
        member = MdAFuse(precision=precision)
        rows.append((f"mdafuse, {precision}", volume(member, shape, device, max(1, repeats - 1)) / shape[0]))
    return [*rows, ("average", volume(FusionMethod.choose("average"), shape, device, repeats) / shape[0])]


def volume(method: FusionMethod, shape: tuple[int, int, int], device: str, repeats: int) -> float:
    """Time the fusing of one pair of volumes; building and reading weights is left out."""
    rng = np.random.default_rng(0)
    pair = [rng.uniform(0, 1, shape).astype(np.float32) for _ in range(2)]
    grid = Geometry(shape[::-1], (1.0, 1.0, 1.0))
    fuser = method.build(device)
    return seconds(lambda: fuser(pair, ["CT", "PET"], grid), repeats, device)


def volumes(sizes: list[tuple[int, int, int]], device: str, with_published: bool) -> None:
    """Print seconds for whole volumes."""
    for size in sizes:
        print(f"\nSeconds for a pair of volumes of {' x '.join(map(str, size))} voxels on {device}")
        peer = slice_by_slice(size[2], (size[1], size[0]), device)
        print(
            f"{'published, eager float32, slice by slice':40} {peer:9.3f} s ({TIMED} of {size[2]} slices timed)",
            flush=True,
        )
        members: list[tuple[str, FusionMethod]] = [("average", FusionMethod.choose("average"))]
        members += [(f"mdafuse {p}", MdAFuse(precision=p)) for p in ("float32", "bfloat16")]
        if with_published:
            members.append(("mdafuse_published bfloat16", MdAFusePublished(precision="bfloat16")))
        for name, member in members:
            taken = volume(member, size[::-1], device, 1)
            print(f"{name:40} {taken:9.3f} s {peer / taken:8.1f} x the first", flush=True)


def slice_by_slice(depth: int, shape: tuple[int, int], device: str) -> float:
    """Time the published network as anyone would run it on a volume; the slices cost the same, so a few are timed."""
    plain = published().to(device)
    pair = [torch.rand(1, 1, *shape, device=device) for _ in range(2)]
    with torch.inference_mode():
        return seconds(lambda: [eager(plain, pair) for _ in range(TIMED)], 1, device) * depth / TIMED


def reading(count: int, device: str) -> None:
    """Print how long reading and fusing some pairs takes, the next pair being read meanwhile, and reading alone."""
    shape = (64, 96, 96)
    rng = np.random.default_rng(0)
    grid = Geometry(shape[::-1], (2.0, 2.0, 2.0))
    fuser = MdAFuse(precision="bfloat16").build(device)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as ahead:
        paths = {name: Path(folder) / f"{name}.nii.gz" for name in ("CT", "PET")}
        for name, path in paths.items():
            image = Volume(rng.normal(0, 100, shape).astype(np.int16).astype(np.float32), grid, name, "a.u.")
            sitk.WriteImage(image.to_sitk(), str(path))

        def pair() -> list[np.ndarray]:
            return [read_volume(path, name, "a.u.").array.astype(np.float32) / 1000 for name, path in paths.items()]

        start = time.perf_counter()
        for _ in range(count):
            pair()
        alone = time.perf_counter() - start
        start, following = time.perf_counter(), ahead.submit(pair)
        for index in range(count):
            here = following.result()
            if index + 1 < count:
                following = ahead.submit(pair)
            fuser(here, list(paths), grid)
        total = time.perf_counter() - start
    print(f"\nReading (.nii.gz) and fusing {count} pairs of {shape} by mdafuse bfloat16 on {device}: {total:.2f} s;")
    print(f"reading alone {alone:.2f} s ({alone / total:.0%})")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=3, action="append", help="voxels along x, y, z; may be repeated")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32, help="pairs at once on a GPU")
    parser.add_argument("--pairs", type=int, default=10, help="volumes to read and fuse")
    parser.add_argument("--published", action="store_true", help="whole volumes by the published network too")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    print(f"torch {torch.__version__}, {given.threads} threads, {torch.backends.cpu.get_cpu_capability()}")
    sizes = [tuple(size) for size in given.size or [(128, 128, 96), (256, 256, 150)]]
    for device in devices:
        slices(device, 1 if device == "cpu" else given.batch, given.repeats)
        volumes(sizes, device, given.published or device == "cuda")
        reading(given.pairs, device)


if __name__ == "__main__":
    main()
