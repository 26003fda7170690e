"""What bfloat16 does to the features of the fusion network's volumes: ICC(2,1) against float32, on an aligned run.

python benchmarks/precision.py STUDY/runs/main [--inputs CT,PET]
"""

import time
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import typer

from radfuse.config import load_yaml
from radfuse.data.names import FeatureName
from radfuse.data.repeatability import icc_agreement
from radfuse.extract.stage import Extract
from radfuse.fuse.mdafuse import MdAFuse
from radfuse.fuse.stage import Fuse
from radfuse.run.device import choose_device
from radfuse.run.store import Store
from radfuse.run.subjects import load_aligned

PRECISIONS = ("float32", "bfloat16")


def measure(run: Path, inputs: str = "", device: str = "auto") -> None:
    """Fuse every aligned subject twice, measure both, and print the agreement per feature class."""
    store, place = Store(run), choose_device(device)
    extract = Extract.model_validate(load_yaml(run / "run.yaml")["extract"])
    names = sorted(path.parent.name for path in (run / "align").glob("*/subject.json"))
    largest = 0.0
    seconds = dict.fromkeys(PRECISIONS, 0.0)
    rows: list[list[list[float]]] = []
    columns: list[str] = []
    for name in names:
        subject = load_aligned(store, name)
        groups = [tuple(inputs.split(","))] if inputs else list(combinations(sorted(subject.volumes), 2))
        found, volumes = {}, {}
        for precision in PRECISIONS:
            fuse = Fuse(methods=(MdAFuse(precision=precision),), inputs=tuple(groups))
            began = time.perf_counter()
            fused = fuse(subject, place)
            seconds[precision] += time.perf_counter() - began
            only = {key: volume for key, volume in fused.volumes.items() if key not in subject.volumes}
            volumes[precision] = only
            found[precision] = extract(replace(fused, volumes=only)).values
        for key, volume in volumes["float32"].items():
            gap = np.abs(volumes["bfloat16"][key].array - volume.array)
            largest = max(largest, float(gap.max() / np.ptp(volume.array)))
        columns = list(found["float32"])
        rows.append([[found[precision][column] for column in columns] for precision in PRECISIONS])
    icc = pd.Series(icc_agreement(np.array(rows, float)), index=columns)
    varies = icc.notna()
    table = icc[varies].groupby([FeatureName.parse(column).feature_class for column in icc.index[varies]])
    report = pd.DataFrame({"features": table.size(), "ICC > 0.99": table.apply(lambda own: (own > 0.99).mean())})
    print(report.assign(lowest=table.min()).round(4).to_string())
    print(f"{len(names)} subjects, {varies.sum()} features that vary; {(icc[varies] > 0.99).mean():.2%} above 0.99")
    print(f"largest difference of a voxel: {largest:.4f} of the volume's range")
    print("; ".join(f"{name}: {took:.1f} s" for name, took in seconds.items()))
    print("lowest:", icc.sort_values().head(10).round(3).to_dict())


if __name__ == "__main__":
    typer.run(measure)
