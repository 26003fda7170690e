from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from radfuse.errors import DataError
from radfuse.run.models import _is_ours, load_model, save_model
from radfuse.train.classifiers import Classifier


def test_a_model_predicts_the_same_after_a_round_trip(tmp_path: Path, rng: np.random.Generator) -> None:
    rows, outcome = rng.normal(size=(40, 3)), np.tile([0, 1], 20)
    model = Pipeline([("forest", RandomForestClassifier(5, random_state=0))]).fit(rows, outcome)
    save_model(model, tmp_path / "model.skops")
    np.testing.assert_array_equal(load_model(tmp_path / "model.skops").predict_proba(rows), model.predict_proba(rows))


@pytest.mark.parametrize("method", sorted(Classifier.members()))
def test_every_classifier_is_stored_without_foreign_types(
    method: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    rows, outcome = rng.normal(size=(40, 3)), np.tile([0, 1], 20)
    model = Pipeline([("classify", Classifier.choose(method).build(0))]).fit(rows, outcome)
    save_model(model, tmp_path / "model.skops")
    np.testing.assert_array_equal(load_model(tmp_path / "model.skops").predict_proba(rows), model.predict_proba(rows))


def test_a_file_that_names_a_foreign_function_is_refused(tmp_path: Path) -> None:
    import os

    save_model(FunctionTransformer(os.system), tmp_path / "evil.skops")
    with pytest.raises(DataError, match=r"types that radfuse never writes: .*system"):
        load_model(tmp_path / "evil.skops")


def test_what_our_steps_merely_import_is_not_ours() -> None:
    assert _is_ours("radfuse.train.steps.columns.Columns")
    assert _is_ours("radfuse.train.selection.anova.f_statistic")
    for name in ("radfuse.train.steps.columns.pd", "radfuse.train.steps.columns.DataError", "radfuse.train.none.x",
                 "radfuse.train.steps.columns.absent", "radfuse.run.store.write"):  # fmt: skip
        assert not _is_ours(name), name
