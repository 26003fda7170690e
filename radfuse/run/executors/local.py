"""Worker processes on this machine, one thread each, so that any number of them gives the same numbers."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
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

    def __enter__(self) -> "LocalExecutor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def map(
        self, work: Callable[[Task], Result], tasks: Sequence[Task], lost: Callable[[Task], Result]
    ) -> Iterator[tuple[Task, Result]]:
        """Run every task, giving each result as it comes, in no particular order.

        A worker that is killed (out of memory, mostly) takes the whole pool with it. The tasks without a result are
        then run again one at a time; the one that kills its worker again is answered by ``lost``.
        """
        pending = list(tasks)
        for batch in self._submit(work, pending):
            task, result = batch
            pending.remove(task)
            yield task, result
        for task in pending:
            alone = list(self._submit(work, [task], jobs=1))
            yield alone[0] if alone else (task, lost(task))

    def _submit(
        self, work: Callable[[Task], Result], tasks: Sequence[Task], jobs: int | None = None
    ) -> Iterator[tuple[Task, Result]]:
        if not tasks:
            return
        pool = self._started(jobs)
        futures: dict[Future[Result], Task] = {pool.submit(work, task): task for task in tasks}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _started(self, jobs: int | None) -> ProcessPoolExecutor:
        if jobs is not None and self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None
        if self._pool is None:
            with _single_threaded():
                context = get_context("spawn")
                self._pool = ProcessPoolExecutor(jobs or self.jobs, mp_context=context, initializer=_leave_interrupts)
                # Workers start at the first submit, so one is made now, while the environment holds.
                for _ in range(jobs or self.jobs):
                    self._pool.submit(os.getpid)
        return self._pool


def _leave_interrupts() -> None:
    # Ctrl-C reaches every process of the terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


@contextmanager
def _single_threaded() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in (*THREAD_VARIABLES, ITK_THREADS)}
    os.environ.update(dict.fromkeys(before, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
