"""Kill the run anywhere, start it again, and get the same bytes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import radfuse_process

from radfuse.run.demo import write_demo

SETTINGS = (
    "--set", "align.registration=none",
    "--set", "fuse.methods=[average, laplacian]",
    "--set", "train.splits={folds: 2, repeats: 2, seed: 0}",
    "--set", "train.fusions=[early, late]",
    "--set", "train.operating=null",
    "--set", "tracking.models=false",
    "--set", "train.bootstrap=50",
    "--set", "report.examples=1",
)  # fmt: skip
RESULTS = ("features.csv", "splits.csv", "report/auc.csv")


def results(study: Path) -> dict[str, bytes]:
    return {name: (study / "runs" / "main" / name).read_bytes() for name in RESULTS}


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        write_demo(tmp_path / name, seed=5, subjects=10)
    began = time.monotonic()
    done = radfuse_process("run", "-q", *SETTINGS, cwd=tmp_path / "whole")
    assert done.returncode == 0, done.stdout + done.stderr
    lasted = time.monotonic() - began
    delays = np.random.default_rng(11).uniform(0.15, 0.9, 3) * lasted
    command = [sys.executable, "-m", "radfuse", "run", "-q", *SETTINGS]
    for delay in delays:
        process = subprocess.Popen(command, cwd=tmp_path / "killed", start_new_session=True, stderr=subprocess.DEVNULL)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    done = radfuse_process("run", "-q", *SETTINGS, cwd=tmp_path / "killed")
    assert done.returncode == 0, done.stdout + done.stderr
    assert results(tmp_path / "killed") == results(tmp_path / "whole")


@pytest.mark.slow
def test_a_polite_interruption_says_how_to_go_on(tmp_path: Path) -> None:
    write_demo(tmp_path / "study", seed=5, subjects=10)
    command = [sys.executable, "-m", "radfuse", "align", "-q"]
    process = subprocess.Popen(command, cwd=tmp_path / "study", stderr=subprocess.PIPE, text=True)
    log = tmp_path / "study" / "runs" / "main" / "log.jsonl"
    until = time.monotonic() + 60
    while not log.is_file() and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "takes up where it stopped" in said
    assert radfuse_process("align", "-q", cwd=tmp_path / "study").returncode == 0


@pytest.mark.slow
def test_two_runs_in_one_folder_do_not_meet(tmp_path: Path) -> None:
    write_demo(tmp_path / "study", seed=5, subjects=10)
    first = subprocess.Popen([sys.executable, "-m", "radfuse", "align", "-q"], cwd=tmp_path / "study")
    log = tmp_path / "study" / "runs" / "main" / "log.jsonl"
    until = time.monotonic() + 60
    while not log.is_file() and time.monotonic() < until:
        time.sleep(0.1)
    second = radfuse_process("align", "-q", cwd=tmp_path / "study")
    assert second.returncode == 2
    assert "another radfuse works" in second.stderr
    assert first.wait(120) == 0
