"""Fixtures shared by all tests: where the public data lies, and small things to test on."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

# Two workers of the test run share the machine; radfuse's own workers run on one thread each, too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from filelock import FileLock

from radfuse.data.geometry import Geometry
from radfuse.data.volume import Mask, Volume

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of public data sets; tests that need it skip, with this reason, when it is absent."""
    root = Path(os.environ.get("RADFUSE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"public data sets not found in {root}; set RADFUSE_DATA")
    return root


@pytest.fixture(scope="session")
def sts(data_root: Path) -> Path:
    """The soft-tissue sarcoma cohort (TCIA, DOI 10.7937/K9/TCIA.2015.7GO2GSKS)."""
    return data_root / "sts"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240607)


@pytest.fixture(scope="session")
def grid() -> Geometry:
    """The 24 x 24 x 12 phantom grid."""
    return Geometry((24, 24, 12), (1.0, 1.0, 2.0), (-10.0, 5.0, 30.0))


@pytest.fixture(scope="session")
def sphere(grid: Geometry) -> Mask:
    """A ball of 7 mm radius in the middle of the phantom grid."""
    z, y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in grid.shape), indexing="ij")
    inside = x**2 + y**2 + (2 * z) ** 2 <= 7**2
    return Mask(inside.astype(np.uint8), grid)


@pytest.fixture(scope="session")
def ct(grid: Geometry, sphere: Mask) -> Volume:
    """A soft-tissue ball in air, HU, float32."""
    noise = np.random.default_rng(1).normal(0, 20, grid.shape)
    return Volume(np.where(sphere.inside, 40.0, -900.0).astype(np.float32) + noise.astype(np.float32), grid, "CT", "HU")


@pytest.fixture(scope="session")
def pet(grid: Geometry, sphere: Mask) -> Volume:
    """A hot ball on a cool background, SUV, float32."""
    noise = np.random.default_rng(2).gamma(4.0, 0.2, grid.shape)
    return Volume((np.where(sphere.inside, 6.0, 0.5) * noise).astype(np.float32), grid, "PET", "SUV")


class InProcess:
    """An executor without processes."""

    jobs = 1

    def __init__(self, jobs: int | None = None) -> None:
        pass

    def __enter__(self) -> "InProcess":
        return self

    def __exit__(self, *ended: object) -> None:
        pass

    def map(self, work: Callable[[Any], Any], tasks: Sequence[Any], lost: object) -> Iterator[tuple[Any, Any]]:
        for task in tasks:
            yield task, work(task)


def radfuse(*arguments: object, cwd: Path | None = None, timeout_s: float = 900) -> subprocess.CompletedProcess[str]:
    """Type a radfuse command as a user would."""
    command = [sys.executable, "-m", "radfuse", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout_s, check=False)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `radfuse demo` makes, made once for all workers of the test run."""
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    folder = shared / "demo"
    with FileLock(shared / "demo.lock"):
        if not (folder / "done.txt").is_file():
            done = radfuse("demo", folder)
            assert done.returncode == 0, done.stdout + done.stderr
            (folder / "done.txt").write_text(done.stdout)
    return folder
