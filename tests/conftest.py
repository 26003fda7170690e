"""Fixtures shared by all tests: where the public data lies, and small things to test on."""

import io
import logging
import os
import runpy
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

# Two workers of the test run share the machine; radfuse's own workers run on one thread each, too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from filelock import FileLock
from threadpoolctl import threadpool_limits

from radfuse.cli.app import main
from radfuse.data.geometry import Geometry
from radfuse.data.predictions import Predictions
from radfuse.data.volume import Mask, Volume
from radfuse.run.executors.local import LocalExecutor

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
    """An executor without processes, which keeps the tasks that it has done."""

    jobs = 1

    def __init__(self, jobs: int | None = None) -> None:
        self.done: list[Any] = []

    def __enter__(self) -> "InProcess":
        return self

    def __exit__(self, *ended: object) -> None:
        pass

    def map(self, work: Callable[[Any], Any], tasks: Sequence[Any], lost: object) -> Iterator[tuple[Any, Any]]:
        for task, found in in_turn(self, work, tasks, lost):
            self.done.append(task)
            yield task, found


def in_turn(
    executor: object, work: Callable[[Any], Any], tasks: Sequence[Any], lost: object
) -> Iterator[tuple[Any, Any]]:
    """Do tasks in this process, on one thread as a worker does."""
    for task in tasks:
        with threadpool_limits(1):
            found = work(task)
        yield task, found


def scored(
    arms: Mapping[str, tuple[str, str, str, float]],
    outcome: np.ndarray,
    folds: Sequence[np.ndarray],
    odds: Callable[[float], np.ndarray],
) -> Predictions:
    """Out-of-fold scores of made-up arms.

    Parameters
    ----------
    arms : by name: fusion, modalities, classifier, and how strong its signal is.
    folds : of each repeat, the fold of each subject.
    odds : gives the log odds of the subjects for a signal; called arm by arm, repeat by repeat.
    """
    subject = [f"S{i:03d}" for i in range(len(outcome))]
    return Predictions(
        pd.concat(
            [
                pd.DataFrame(
                    {"arm": arm, "fusion": fusion, "modalities": modalities, "classifier": classifier,
                     "subject": subject, "repeat": repeat, "fold": fold, "outcome": outcome,
                     "score": 1 / (1 + np.exp(-odds(signal)))}
                )
                for arm, (fusion, modalities, classifier, signal) in arms.items()
                for repeat, fold in enumerate(folds)
            ],
            ignore_index=True,
        )
    )  # fmt: skip


def radfuse(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Type a radfuse command as a user would, without the seconds that starting it and its workers take.

    The command line is that of `python -m radfuse`, from its arguments to its exit code and what it prints.
    `radfuse_process` is for what only processes show.
    """
    return typed(main, "radfuse", *arguments, cwd=cwd)


def pipeline(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a script of pipelines/ as a user would, without the seconds that starting it takes."""
    script = str(REPOSITORY / "pipelines" / name)
    return typed(lambda: runpy.run_path(script, run_name="__main__"), script, *arguments)


def typed(program: Callable[[], object], *words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program of the command line in this process; the work of its workers is done here, too."""
    command = list(map(str, words))
    said, told = io.StringIO(), io.StringIO()
    warned = logging.StreamHandler(told)  # Python itself prints the warnings of a program that configures no log
    warned.setLevel(logging.WARNING)
    threads, interrupt = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads(), signal.getsignal(signal.SIGTERM)
    with (
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(action="ignore"),
        redirect_stdout(said),
        redirect_stderr(told),
    ):
        patch.setattr(sys, "argv", command)
        patch.setattr(LocalExecutor, "map", in_turn)
        patch.chdir(cwd or Path.cwd())
        logging.getLogger().addHandler(warned)
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # as workers do
        try:
            program()
            code: Any = 0
        except SystemExit as end:
            code = end.code
        finally:
            logging.getLogger().removeHandler(warned)
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
            signal.signal(signal.SIGTERM, interrupt)
    return subprocess.CompletedProcess(command, code or 0, said.getvalue(), told.getvalue())


def radfuse_process(
    *arguments: object, cwd: Path | None = None, timeout_s: float = 900
) -> subprocess.CompletedProcess[str]:
    """Type a radfuse command in a process of its own, with worker processes."""
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
            done = radfuse_process("demo", folder)
            assert done.returncode == 0, done.stdout + done.stderr
            (folder / "done.txt").write_text(done.stdout)
    return folder
