"""One image chosen among many, inside the training rows."""

import numpy as np
import pandas as pd
import pytest

from radfuse.errors import DataError
from radfuse.train.classifiers.logistic import Logistic
from radfuse.train.fusion.chosen import ChosenImage
from radfuse.train.selection.anova import Anova
from radfuse.train.stage import Train
from radfuse.train.statistics import pair_auc

IMAGES = [f"fused-dwt3d_w{k}-CT_PET" for k in range(6)]


def images(subjects: int, seed: int, telling: str | None) -> tuple[pd.DataFrame, pd.Series]:
    """Noise in every image; one of them knows something of the outcome."""
    rng = np.random.default_rng(seed)
    outcome = pd.Series((np.arange(subjects) % 3 == 0).astype(int))
    rows = pd.DataFrame({f"{name}.f{i}": rng.normal(size=subjects) for name in IMAGES for i in range(12)})
    if telling:
        rows[f"{telling}.f3"] += 1.5 * outcome
    return rows.assign(**{f"@missing.{name}": 0.0 for name in IMAGES}), outcome


def chosen(seed: int = 0):
    return ChosenImage().build(IMAGES, Anova().build(), Logistic().build(seed), seed)


def test_the_image_that_tells_is_chosen_and_alone_is_used():
    rows, outcome = images(90, 1, IMAGES[4])
    model = chosen().fit(rows, outcome)
    assert model.chosen_ == IMAGES[4]
    assert model.columns_.keys() == {IMAGES[4]}
    others = [column for column in rows if column.startswith("fused") and not column.startswith(IMAGES[4])]
    assert np.array_equal(model.predict_proba(rows.assign(**dict.fromkeys(others, 9.0))), model.predict_proba(rows))


def test_choosing_the_best_of_noise_earns_nothing_outside():
    """The inner AUC of the winner is above 1/2 by luck; on new rows it is 1/2 (null, twelve draws)."""
    inner, outer = [], []
    for seed in range(12):
        model = chosen().fit(*images(45, seed, None))
        inner.append(max(model.scores_.values()))
        rows, outcome = images(300, 100 + seed, None)
        outer.append(pair_auc(outcome.to_numpy(), model.predict_proba(rows)[:, 1]))
    assert np.mean(inner) > 0.55
    assert abs(np.mean(outer) - 0.5) < 4 * np.std(outer, ddof=1) / 12**0.5


def test_an_image_that_a_row_lacks_leaves_it_at_the_prevalence():
    rows, outcome = images(90, 1, IMAGES[0])
    model = chosen().fit(rows, outcome)
    lacks = rows[:5].assign(**{f"@missing.{IMAGES[0]}": 1.0})
    assert model.predict_proba(lacks)[:, 1] == pytest.approx(np.full(5, outcome.mean()))


def test_no_image_with_both_outcomes_is_refused():
    rows, outcome = images(30, 1, None)
    with pytest.raises(DataError, match="has both outcomes"):
        chosen().fit(rows.assign(**{f"@missing.{name}": 1.0 for name in IMAGES}), outcome)


def test_the_arm_looks_at_the_fused_images_and_is_named_by_its_level(make_table):
    train = Train.model_validate({"fusions": ["chosen"]})
    one, two = make_table(fused=True), make_table(fused=True)
    assert not [arm for arm in train.arms(one) if arm.fusion == "chosen"], "one image leaves nothing to choose"
    again = two.values.filter(like="fused-").rename(columns=lambda name: name.replace("average", "maximum"))
    table = two.with_values(pd.concat([two.values, again], axis=1))
    arm = next(arm for arm in train.arms(table) if arm.fusion == "chosen")
    assert arm.name == "chosen-logistic"
    assert arm.modalities == ("fused-average-CT_PET", "fused-maximum-CT_PET")
