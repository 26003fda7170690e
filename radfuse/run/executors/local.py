"""Worker processes on this machine, one thread each, so that any number of them gives the same numbers."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from types import TracebackType
from typing import TypeVar

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
ITK_THREADS = "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"

Task = TypeVar("Task")
Result = TypeVar("Result")


class LocalExecutor:
    """A pool of worker processes, started at the first task and kept between stages.

    Parameters
    ----------
    jobs : how many processes; None is one per core.
    """

    def __init__(self, jobs: int | None = None) -> None:
        self.jobs = jobs or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None
        self._environment: dict[str, str | None] = {}

    def __enter__(self) -> "LocalExecutor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._environment = {}

    def map(
        self, work: Callable[[Task], Result], tasks: Sequence[Task], lost: Callable[[Task], Result]
    ) -> Iterator[tuple[Task, Result]]:
        """Run every task, giving each result as it comes, in no particular order.

        A worker that is killed (out of memory, mostly) takes the whole pool with it. The tasks without a result are
        then run once more, each alone; one that kills its worker again is answered by ``lost``.
        """
        pending = list(tasks)
        for task, result in self._submit(work, pending):
            pending.remove(task)
            yield task, result
        for task in pending:
            alone = list(self._submit(work, [task]))
            yield alone[0] if alone else (task, lost(task))

    def _submit(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[Task, Result]]:
        """Give the results until the pool breaks; the caller sees which tasks have none."""
        try:
            pool = self._started()
            futures: dict[Future[Result], Task] = {pool.submit(work, task): task for task in list(tasks)}
            for future in as_completed(futures):
                result = future.result()
                yield futures[future], result
        except BrokenProcessPool:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Workers read these when their libraries load; they stay set as long as a worker may be started.
            for name in (*THREAD_VARIABLES, ITK_THREADS):
                self._environment.setdefault(name, os.environ.get(name))
                os.environ[name] = "1"
            self._pool = ProcessPoolExecutor(self.jobs, mp_context=get_context("spawn"), initializer=_prepare)
        return self._pool


def _prepare() -> None:
    # Ctrl-C reaches every process of the terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def _die_with_parent() -> None:
    """A worker that outlives a killed run would go on writing into a folder that nobody has locked."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
