"""On phantom cohorts that nothing was tuned on, fusion is ahead of each modality, and the oracle is ahead of fusion."""

import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from radfuse.align.stage import Align
from radfuse.data.phantom import Phantom
from radfuse.data.table import FeatureTable
from radfuse.extract.stage import Extract
from radfuse.harmonize.combat import ComBat
from radfuse.train.stage import Train

# Each modality is measured in its own contour, so the planted shift needs no registration here: `radfuse demo` has it.
ALIGN = Align.model_validate({"reference": "CT", "spacing_mm": 2.0, "registration": "none", "mask": "own"})
TRAIN = Train.model_validate(
    {
        "fusions": ["early", "intermediate", "late"],
        "splits": {"folds": 5, "repeats": 2},
        "bootstrap": 10,
        "operating": None,
    }
)


def extract_stage() -> Extract:
    folder = REPOSITORY / "configs" / "pyradiomics"
    parameters = {m: yaml.safe_load((folder / f"demo-{m.lower()}.yaml").read_text()) for m in ("CT", "PET")}
    return Extract(parameters=parameters)


def table_of(phantom: Phantom) -> tuple[FeatureTable, pd.Series]:
    cohort, extract = phantom.cohort(), extract_stage()
    rows = {subject.id: dict(extract(ALIGN(subject)).values) for subject in cohort.subjects}
    facts = cohort.clinical.rename(columns={"scanner_ct": "batch.CT", "scanner_pet": "batch.PET"})
    values = pd.DataFrame.from_dict(rows, orient="index").loc[facts.index]
    return FeatureTable(values.set_axis(facts.index), facts), cohort.truth["linear_predictor"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [101, 102, 103, 104, 105])
def test_fusion_is_ahead_of_each_modality_on_an_unseen_seed(seed: int) -> None:
    table, predictor = table_of(Phantom(seed=seed))
    splits, combat = TRAIN.splits(table), ComBat(protect=("age", "sex", "grade")).build()
    with threadpool_limits(1):
        found = {
            arm.name: float(TRAIN.run_arm(arm, table, splits, combat).folds["auc"].mean())
            for arm in TRAIN.arms(table)
            if arm.fusion != "baseline"
        }
    oracle = roc_auc_score(table.outcome, predictor)
    single = max(found["single-CT-logistic"], found["single-PET-logistic"])
    assert single < found["early-logistic"], (found, oracle)
    assert single < found["late-logistic"], (found, oracle)
    assert single < found["intermediate"], (found, oracle)
    assert oracle > single, (found, oracle)
