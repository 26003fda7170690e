import os
import signal

from radfuse.run.executors.local import LocalExecutor


def square(number: int) -> int:
    return number * number


def threads(number: int) -> str:
    return os.environ["OMP_NUM_THREADS"]


def dies_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_every_task_is_answered_once() -> None:
    with LocalExecutor(2) as executor:
        found = dict(executor.map(square, [1, 2, 3, 4], lost=lambda task: -1))
    assert found == {1: 1, 2: 4, 3: 9, 4: 16}


def test_workers_run_one_thread_whatever_their_number() -> None:
    before = os.environ.get("OMP_NUM_THREADS")
    with LocalExecutor(1) as executor:
        assert dict(executor.map(threads, [0], lost=lambda task: "lost")) == {0: "1"}
    assert os.environ.get("OMP_NUM_THREADS") == before


def test_a_killed_worker_costs_its_own_task_only() -> None:
    with LocalExecutor(2) as executor:
        found = dict(executor.map(dies_at_three, [1, 2, 3, 4, 5], lost=lambda task: -1))
    assert found == {1: 1, 2: 2, 3: -1, 4: 4, 5: 5}
