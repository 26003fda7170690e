import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from radfuse.run.executors.local import LocalExecutor
from radfuse.run.store import process_lives


def pid(number: int) -> int:
    return os.getpid()


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


def test_a_worker_that_died_idle_costs_nothing() -> None:
    with LocalExecutor(1) as executor:
        (worker,) = dict(executor.map(pid, [0], lost=lambda task: -1)).values()
        os.kill(worker, signal.SIGKILL)
        time.sleep(0.5)
        assert dict(executor.map(square, [2, 3], lost=lambda task: -1)) == {2: 4, 3: 9}


def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_local_executor import pid, LocalExecutor\n"
        "if __name__ == '__main__':\n"
        "    executor = LocalExecutor(1)\n"
        "    print(*dict(executor.map(pid, [0], lost=None)).values(), flush=True)\n"
        "    import time; time.sleep(60)\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    command = [sys.executable, str(script), str(Path(__file__).parent)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = parent.stdout.readline().strip()
    assert process_lives(worker)
    parent.kill()
    parent.communicate()
    until = time.monotonic() + 20
    while process_lives(worker) and time.monotonic() < until:
        time.sleep(0.1)
    assert not process_lives(worker)
