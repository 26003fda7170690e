"""Compare the fusion levels of a finished run in pairs, each against the best single modality.

These are explorations: the one comparison that was declared before the run is in report/contrast.json.

python pipelines/compare_fusion_levels.py STUDY/runs/main
"""

from pathlib import Path

import pandas as pd
import typer

from radfuse.data.predictions import Predictions
from radfuse.train.scores import Bootstrap, compare, score_table


def compare_fusion_levels(run: Path, resamples: int = 2000, seed: int = 0) -> None:
    """Print AUC, difference, interval and p for the best arm of each level against the best single modality."""
    predictions = Predictions(pd.read_parquet(run / "report" / "predictions.parquet"))
    bootstrap = Bootstrap(predictions, resamples, 0.95, seed)
    table = score_table(predictions, bootstrap).sort_values("auc", ascending=False)
    best = table.drop_duplicates("fusion").set_index("fusion")
    rows = []
    for level in ("image", "early", "intermediate", "late"):
        if level in best.index and "single" in best.index:
            found = compare(predictions, best.loc[level, "arm"], best.loc["single", "arm"], bootstrap)
            rows.append({key: found[key] for key in ("arm", "against", "auc", "difference", "ci_low", "ci_high", "p")})
    typer.echo(pd.DataFrame(rows).round(3).to_string(index=False))


if __name__ == "__main__":
    typer.run(compare_fusion_levels)
