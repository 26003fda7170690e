"""Plant motions in real scans and let each tool find them: ``python benchmarks/registration.py --data .../data``.

Pairs are the sarcoma cohort's CT against PET and MR (``across``, truth: the cohort's own alignment, itself uncertain
by a few mm) and each scan against itself on another grid with fresh noise (``same``, truth exact); and the four oblique
sequences of a brain, where the patient moved between sequences by 8 to 18 mm, so that the truth of a pair is the
consensus of all tools on it: the rigid motion nearest to the median of where they take its points.

``--peers PYTHON`` names an interpreter that has SimpleITK, itk-elastix, antspyx and picsl_greedy; each tool runs in a
process of its own, on one thread. ``--keep FOLDER`` keeps pairs and answers, so that a second call asks nobody again
who has answered. ``--patients`` and ``--times`` scale everything.

Three tables: by tool and pair of modalities, without any gate (seconds, error at the lesion and at the corners, Dice of
the lesion, success, and how far the answer is from the tool's own on the pair without motion); what the gate lets pass
for planted shifts, and how many come back; and the drift of pairs where nothing was planted.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from registration_trials import Trial, brain_pairs, cohort_pairs, motion, moved, trials

from radfuse.align.registration import Registration
from radfuse.data.deformation import Motion
from radfuse.data.reading.images import write_volume
from radfuse.data.transform import Transform

# Drawn beforehand and asked once; the search was made looking at STS_005, 013, 016, 020, 021, 033, 047 and 049.
UNTOUCHED = tuple(f"STS_{number}" for number in ["007", "010", "018", "022", "031", "032", "035", "037", "039", "041"])
PEERS = ("simpleitk", "elastix", "ants", "ants_headers", "greedy")
GATE_SHIFTS_MM = (0.0, 5.0, 10.0, 20.0, 30.0)
ACROSS_MM = 5.0  # success across modalities: what the cohort's own alignment is good for
UNGATED = {"min_gain": 0.0, "max_displacement_mm": 1e6, "max_inverse_mm": 1e6}  # the search heeds min_overlap itself


def peers_answer(python: str, folder: Path, tools: list[str]) -> None:
    """Let each tool work through the pairs in the folder."""
    script = Path(__file__).with_name("registration_peers.py")
    for tool in tools:
        subprocess.run([python, str(script), tool, str(folder)], check=True, stdout=subprocess.DEVNULL)


def write_pair(trial: Trial, folder: Path) -> None:
    """Write a pair as the peers read it."""
    into = folder / trial.name
    into.mkdir(parents=True, exist_ok=True)
    for name, volume in (("fixed", trial.fixed), ("moving", trial.moving)):
        if not (into / f"{name}.nii.gz").is_file():
            write_volume(into / f"{name}.nii.gz", volume)


def we_answer(trial: Trial, method: str, folder: Path) -> None:
    """Register with a member of ours, its gate wide open."""
    register = Registration.choose({"method": method, "gate": UNGATED}).build()
    began = time.perf_counter()
    found = register(trial.fixed, trial.moving).transform
    seconds = time.perf_counter() - began
    if not isinstance(found, Transform):
        raise SystemExit(f"{method} bends: this table compares matrices")
    (folder / trial.name / f"ours_{method}.json").write_text(json.dumps({"matrix": found.matrix, "seconds": seconds}))


def answers(folder: Path, trial: Trial, tools: list[str]) -> dict[str, tuple[Transform, float]]:
    """Read what the tools said."""
    read = {tool: json.loads((folder / trial.name / f"{tool}.json").read_text()) for tool in tools}
    return {tool: (Transform.from_array(each["matrix"]), each["seconds"]) for tool, each in read.items()}


def consensus(found: list[Transform], points: np.ndarray) -> Transform:
    """Give the rigid motion nearest to the median of where several take the points [Kabsch, Acta Cryst A 32:922]."""
    target = np.median([each.apply(points) for each in found], axis=0)
    a, b = points - points.mean(axis=0), target - target.mean(axis=0)
    u, _, vt = np.linalg.svd(a.T @ b)
    flip = np.diag([1.0, 1.0, float(np.sign(np.linalg.det(vt.T @ u.T)))])
    matrix = np.eye(4)
    matrix[:3, :3] = vt.T @ flip @ u.T
    matrix[:3, 3] = target.mean(axis=0) - matrix[:3, :3] @ points.mean(axis=0)
    return Transform.from_array(matrix)


def rows(
    trial: Trial, own: Transform, said: dict[str, tuple[Transform, float]], rest: dict[str, Transform]
) -> Iterator[dict[str, object]]:
    """Judge every tool's answer on one pair.

    Parameters
    ----------
    own : where the pair lies without any planted motion.
    rest : what each tool said of the pair without planted motion.
    """
    from dataclasses import replace

    true = replace(trial, truth=Transform.from_array(trial.truth.array @ own.array))
    limit = trial.half_voxel_mm if trial.kind == "same" else ACROSS_MM
    for tool, (found, seconds) in said.items():
        lesion, corners = true.errors_mm(found)
        like_before = replace(trial, truth=Transform.from_array(trial.truth.array @ rest[tool].array))
        yield {
            "where": "brain" if trial.name.startswith("brain") else "cohort",
            "kind": "same" if trial.kind == "same" else trial.name.split(".")[1],
            "tool": tool,
            "trial": trial.name,
            "seconds": seconds,
            "lesion_mm": lesion,
            "corners_mm": corners,
            "dice": true.dice(found),
            "success": lesion <= limit,
            "repeat_mm": like_before.errors_mm(found)[0],
        }


def table_of_tools(found: pd.DataFrame) -> str:
    """Summarise by place, kind and tool."""
    grouped = found.groupby(["where", "kind", "tool"], sort=True)
    table = grouped.agg(
        n=("trial", "size"),
        seconds=("seconds", "median"),
        lesion_median=("lesion_mm", "median"),
        lesion_p90=("lesion_mm", lambda v: v.quantile(0.9)),
        lesion_mean=("lesion_mm", "mean"),
        lesion_max=("lesion_mm", "max"),
        corners_median=("corners_mm", "median"),
        dice=("dice", "mean"),
        success=("success", "mean"),
        repeat_median=("repeat_mm", "median"),
        repeat_p90=("repeat_mm", lambda v: v.quantile(0.9)),
    )
    return table.round(2).to_string()


def gate_table(pairs: list[Trial], method: str) -> str:
    """Plant plain shifts in the pairs across modalities and see what the gate lets pass.

    Recovered means accepted, and within 5 mm of the truth at the lesion; keeping the headers recovers nothing.
    """
    register = Registration.choose(method).build()
    lines = []
    for size in GATE_SHIFTS_MM:
        for trial in pairs:
            rng = np.random.default_rng([int(size), *trial.name.encode()])
            planted = motion(trial.fixed.geometry.corners_mm.mean(axis=0), size, 0.0, rng)
            answer = register(trial.fixed, moved(trial.moving, planted))
            error = _error(trial, planted, answer.transform)
            accepted = bool(answer.findings["accepted"])
            recovered = accepted and error <= ACROSS_MM
            moved_mm = answer.transform.displacement_mm(trial.lesion_mm)
            lines.append(
                {
                    "shift_mm": size,
                    "accepted": accepted,
                    "recovered": recovered,
                    "lesion_mm": error,
                    "worst_move_mm": moved_mm,
                }
            )
    table = (
        pd.DataFrame(lines)
        .groupby("shift_mm")
        .agg(
            n=("accepted", "size"),
            accepted=("accepted", "mean"),
            recovered=("recovered", "mean"),
            lesion_median=("lesion_mm", "median"),
            moved_at_most=("worst_move_mm", "max"),
        )
    )
    return table.round(2).to_string()


def _error(trial: Trial, planted: Transform, found: Motion) -> float:
    points = trial.lesion_mm
    return float(np.linalg.norm(found.apply(points) - planted.apply(points), axis=1).mean())


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder with sts/ and brain_tumour_native/")
    parser.add_argument("--patients", nargs="*", default=UNTOUCHED)
    parser.add_argument("--times", type=int, default=2, help="motions planted in every pair")
    parser.add_argument("--shift-mm", type=float, default=30.0)
    parser.add_argument("--angle-deg", type=float, default=15.0)
    parser.add_argument("--kinds", nargs="*", default=["same", "across"], choices=["same", "across"])
    parser.add_argument("--methods", nargs="*", default=["rigid"], help="ours")
    parser.add_argument("--peers", help="a Python that has the other libraries")
    parser.add_argument("--tools", nargs="*", default=PEERS)
    parser.add_argument("--keep", type=Path, help="keep pairs and answers here")
    parser.add_argument(
        "--gate", nargs="*", help="patients for the table of the gate; by default all, none without a name"
    )
    given = parser.parse_args()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="registration-"))
    pairs = chain(cohort_pairs(given.data / "sts", given.patients), brain_pairs(given.data / "brain_tumour_native"))
    every = trials(pairs, given.times, given.shift_mm, given.angle_deg)
    all_trials = [trial for trial in every if trial.kind in given.kinds]
    ours = [f"ours_{method}" for method in given.methods]
    tools = [*ours, *(given.tools if given.peers else [])]
    for trial in all_trials:
        write_pair(trial, folder)
    if given.peers:
        peers_answer(given.peers, folder, list(given.tools))
    for trial in all_trials:
        for method in given.methods:
            if not (folder / trial.name / f"ours_{method}.json").is_file():
                we_answer(trial, method, folder)
    found: list[dict[str, object]] = []
    rest: dict[str, Transform] = {}
    own = Transform.identity()
    for trial in all_trials:
        said = answers(folder, trial, tools)
        if trial.name.endswith(".0"):
            rest = {tool: each for tool, (each, _) in said.items()}
            own = Transform.identity()
            if trial.name.startswith("brain") and trial.kind == "across":
                own = consensus(list(rest.values()), trial.fixed.geometry.corners_mm)
        found += rows(trial, own, said, rest)
    table = pd.DataFrame(found)
    planted = ~table["trial"].str.endswith(".0")
    print(f"{len(given.patients)} patients and one brain, {given.times} planted motions a pair\n")
    print(table_of_tools(table[planted]))
    print("\nNothing planted (drift from the cohort's alignment; from the consensus in the brain)\n")
    print(table_of_tools(table[~planted]))
    judged = given.patients if given.gate is None else given.gate
    across = [t for t in all_trials if t.name.endswith(".0") and t.kind == "across" and t.name.split(".")[0] in judged]
    if across:
        for method in given.methods:
            print(f"\nThe gate of {method}, CT against PET and MR, {len(across)} pairs a shift\n")
            print(gate_table(across, method))


if __name__ == "__main__":
    main()
