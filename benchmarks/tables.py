"""Judge public feature tables of radMLBench: ``python benchmarks/tables.py DATA.csv.gz [DATA.csv.gz ...]``.

Each table (github.com/aydindemircioglu/radMLBench) holds columns MODALITY_feature, ID and Target. They were
standardised over all rows before they were published, so the AUCs are a test of the plumbing and of the seconds, not of
the modalities.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

SETTINGS = (
    "train.classifiers=[logistic, xgboost]",
    "train.fusions=[early, intermediate, late, {method: late, combine: stacking}, pls]",
    "train.splits={folds: 5, repeats: 5}",
)


def judge(source: Path, folder: Path) -> tuple[pd.DataFrame, float]:
    """Judge one table through the command line; give its AUCs and the seconds."""
    table = pd.read_csv(source).set_index("ID").rename_axis("subject")
    features = table.drop(columns="Target").rename(columns=lambda name: name.replace("_", ".", 1))
    features.to_csv(folder / "features.csv")
    table[["Target"]].to_csv(folder / "subjects.csv")
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    command = [sys.executable, "-m", "radfuse", "train", "--features", "features.csv", "--subjects", "subjects.csv"]
    command += ["--outcome", "Target", "-o", "RUN", *settings]
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return pd.read_csv(folder / "RUN" / "report" / "auc.csv"), time.perf_counter() - began


def main(sources: list[Path]) -> None:
    """Print a table for each."""
    for source in sources:
        with tempfile.TemporaryDirectory() as folder:
            auc, seconds = judge(source, Path(folder))
        first = auc.iloc[0]
        print(f"{source.name}: {first['n']} subjects, {first['events']} events, {len(auc)} arms, {seconds:.0f} s")
        print(auc[["arm", "auc", "ci_low", "ci_high"]].round(3).to_string(index=False), "\n")


if __name__ == "__main__":
    main([Path(path) for path in sys.argv[1:]])
