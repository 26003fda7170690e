"""What must not leave a study is found wherever it stands as text, and a number is no patient."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from radfuse.data.table import FeatureTable
from radfuse.errors import StageError
from radfuse.run.models import save_model
from radfuse.run.privacy import refuse_patients


def run_of(*people: str) -> Any:
    index = pd.Index(people, name="subject", dtype=object)
    table = FeatureTable(pd.DataFrame({"CT.a": 1.0}, index), pd.DataFrame({"outcome": 0}, index))
    config = SimpleNamespace(cohort=SimpleNamespace(root=Path("/nowhere/cohort")))
    return SimpleNamespace(table=table, place=Path("/nowhere/study"), config=config)


def model(folder: Path, **held: Any) -> None:
    folder.mkdir(exist_ok=True)
    save_model(Pipeline([("step", FunctionTransformer(kw_args=held))]), folder / "model.skops")


@pytest.mark.parametrize("people", [("P001", "P002", "P003"), ("1001", "1002", "1003")])
def test_names_are_found_in_arrays_lists_and_keys_of_a_model(tmp_path: Path, people: tuple[str, ...]) -> None:
    held = {"array": np.array(people), "list": list(people), "dict": {people[1]: 2.0}}
    for name, value in held.items():
        model(tmp_path / name, value=value)
        with pytest.raises(StageError, match=rf"model.skops/.*would hold '{people[0][:-1]}\d'"):
            refuse_patients(tmp_path / name, run_of(*people))


def test_names_of_digits_are_found_in_tables_and_settings_and_not_among_numbers(tmp_path: Path) -> None:
    run = run_of("1002", "2000", "6787", "10000")
    (tmp_path / "README.md").write_text("10.1002/sim.6787, 2000 resamples, 0.2000\n")
    (tmp_path / "run.yaml").write_text("bootstrap: 2000\niterations: 10000\n")
    (tmp_path / "known.json").write_text('{"n": 2000, "values": [1002, 0.6787]}')
    (tmp_path / "points.csv").write_text("arm,n\nearly,2000\n")
    model(tmp_path, iterations=10000, share=0.2000, values=np.array([1002, 2000]))
    refuse_patients(tmp_path, run)
    for name, text in {
        "run.yaml": "who: '2000'\n",
        "known.json": '["1002"]',
        "points.csv": "subject,n\n6787,1\n",
    }.items():
        (tmp_path / "further").mkdir(exist_ok=True)
        (tmp_path / "further" / name).write_text(text)
        with pytest.raises(StageError, match=f"further/{name} would hold"):
            refuse_patients(tmp_path, run)
        (tmp_path / "further" / name).unlink()
