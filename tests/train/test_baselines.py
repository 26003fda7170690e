"""Baselines: what they look at, and what they refuse."""

import numpy as np
import pytest
from pydantic import ValidationError

from radfuse.data.table import FeatureTable
from radfuse.errors import ConfigError
from radfuse.train.baselines import Baselines
from radfuse.train.stage import Train


def test_every_table_with_shapes_pet_and_batches_has_four_baselines(make_table):
    found = {b.name: b for b in Baselines(clinical=("age", "sex")).of(make_table())}
    assert list(found) == ["volume", "volume-suvmax", "batch", "clinical"]
    assert found["volume"].columns == ("CT.original_shape_MeshVolume",)
    assert found["volume-suvmax"].columns == ("CT.original_shape_MeshVolume", "PET.original_firstorder_Maximum")
    assert found["volume-suvmax"].modalities == ("CT", "PET")
    assert found["batch"].columns == ("@batch.CT", "@batch.PET")
    assert found["clinical"].columns == ("@age", "@sex")


def test_without_pet_shapes_or_batches_the_baseline_is_left_out(make_table):
    table = make_table(modalities=("CT", "MR_T1"))
    assert [b.name for b in Baselines().of(table)] == ["volume", "batch"]
    bare = table.with_values(table.values.drop(columns=[c for c in table.values if "shape" in c]))
    assert [b.name for b in Baselines(batch=False).of(bare)] == []


def test_one_batch_for_all_says_nothing(make_table):
    table = make_table()
    same = FeatureTable(table.values, table.subjects.assign(**{"batch.CT": "x", "batch.PET": "x"}))
    assert "batch" not in [b.name for b in Baselines().of(same)]


@pytest.mark.parametrize(
    "name",
    ["lung_mets", "any_event", "status", "deceased", "time_to_event_or_censor_days", "treatment", "outcome_text",
     "days_diagnosis_to_last_followup", "overall_survival", "recurrence"],
)  # fmt: skip
def test_later_facts_are_refused_by_name(name: str):
    with pytest.raises(ValidationError, match=f"'{name}', which sounds like a fact known only after imaging"):
        Baselines(clinical=("age", name))


def test_facts_of_the_sarcoma_cohort_known_at_imaging_are_accepted():
    names = ("age_years", "sex", "grade", "mskcc_type", "site", "days_diagnosis_to_mri")
    assert Baselines(clinical=names).clinical == names


def test_a_name_that_only_sounds_late_can_be_vouched_for():
    settings = Baselines(clinical=("performance_status",), known_before_imaging=("performance_status",))
    assert settings.clinical == ("performance_status",)


def test_columns_declared_as_later_are_refused():
    with pytest.raises(ValidationError, match="lists necrosis, which is known only after imaging"):
        Train(known_after_imaging=("necrosis",), baselines=Baselines(clinical=("necrosis",)))


def test_a_clinical_column_that_is_not_there_is_named(make_table):
    with pytest.raises(ConfigError, match=r"names size, not among the subjects' columns \(age, sex\)"):
        Train(baselines=Baselines(clinical=("size",))).arms(make_table())


def test_volume_baseline_ranks_by_volume_alone(make_table, harmonizer):
    """With one positive column a logistic model keeps its order: the AUC is that of the volume, up to its sign."""
    table = make_table(subjects=80)
    column = "CT.original_shape_MeshVolume"
    larger = table.values.assign(**{column: np.exp(table.values[column].to_numpy() + 2 * table.outcome.to_numpy())})
    table, train = table.with_values(larger), Train.model_validate({"splits": {"repeats": 2}})
    arm = next(arm for arm in train.arms(table) if arm.name == "baseline-volume")
    rows = train.run_arm(arm, table, train.splits(table), harmonizer).predictions.rows
    for _, part in rows.groupby(["repeat", "fold"]):
        volume = table.values.loc[part["subject"], column].to_numpy()
        assert (np.argsort(part["score"]).to_numpy() == np.argsort(volume)).all()
