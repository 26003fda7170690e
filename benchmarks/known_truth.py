"""Run `radfuse demo` on several seeds and print the AUC of each level beside the oracle's.

python benchmarks/known_truth.py 101 102 103 104 105
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from radfuse.run.demo import oracle_auc


def measure(seed: int, folder: Path) -> dict[str, float]:
    """One seed: every stage through the command line, in a fresh folder."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "radfuse", "demo", str(folder), "--seed", str(seed), "--json"]
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.perf_counter() - began
    auc = pd.read_csv(folder / "runs" / "main" / "report" / "auc.csv").set_index("arm")["auc"]
    arms = ["single-CT-logistic", "single-PET-logistic", "early-logistic", "intermediate", "late-logistic"]
    best_image = auc[auc.index.str.startswith("image-")].max()
    named = {arm.removesuffix("-logistic"): auc[arm] for arm in arms}
    return {"seed": seed, **named, "best image": best_image, "oracle": oracle_auc(folder), "seconds": seconds}


def main(seeds: list[int]) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as root:
        rows = [measure(seed, Path(root) / str(seed)) for seed in seeds]
    print(pd.DataFrame(rows).round(3).to_string(index=False))


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or [101, 102, 103, 104, 105])
