"""What every harmoniser keeps. A new member needs no new test here."""

import json
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from radfuse.data.table import FeatureTable, context_columns, feature_columns
from radfuse.harmonize import Harmonizer
from radfuse.harmonize.stage import Harmonize

MEMBERS = sorted(Harmonizer.members())


@pytest.fixture
def table() -> FeatureTable:
    """Sixty subjects, two modalities with their own scanners and one without, a planted shift and scale."""
    rng = np.random.default_rng(7)
    n = 60
    ids = pd.Index([f"S{i:02d}" for i in range(n)], name="subject")
    site = np.array(["a", "b", "c"])[np.arange(n) % 3]
    coil = np.array(["x", "y"])[np.arange(n) % 2]
    blocks = {}
    for modality, label in (("CT", site), ("MR_T1", coil), ("fused-average-CT_MR_T1", site), ("PET", None)):
        block = rng.normal(10, 2, (n, 12))
        if label is not None:
            for place, name in enumerate(sorted(set(label))):
                block[label == name] = block[label == name] * (1 + place) + 5 * place
        blocks |= {f"{modality}.original_firstorder_F{f}": block[:, f] for f in range(12)}
    subjects = pd.DataFrame(
        {
            "outcome": rng.integers(0, 2, n),
            "batch.CT": site,
            "batch.MR_T1": coil,
            "age_years": rng.normal(60, 10, n),
            "sex": rng.choice(["F", "M"], n),
        },
        index=ids,
    )
    return FeatureTable(pd.DataFrame(blocks, index=ids), subjects)


SETTINGS: list[dict[str, Any]] = [
    *({"method": name} for name in MEMBERS),
    {"method": "combat", "reference_batch": {"CT": "a"}, "protect": ["age_years", "sex"]},
    {"method": "combat_gam", "protect": ["age_years", "sex"]},
    {"method": "covbat", "least_rows": 20, "protect": ["age_years"]},
    {"method": "nested_combat", "then": {"CT": ["sex"]}, "order": "searched", "protect": ["age_years"]},
]


@pytest.fixture(params=SETTINGS, ids=lambda given: "-".join(map(str, given.values())))
def harmonizer(request: pytest.FixtureRequest) -> Harmonizer:
    return Harmonizer.choose(request.param)


def test_every_member_is_named_by_its_file() -> None:
    assert MEMBERS == ["combat", "combat_gam", "covbat", "nested_combat", "none", "zscore"]


def test_columns_rows_and_context_stay(harmonizer: Harmonizer, table: FeatureTable) -> None:
    rows = table.rows()
    out = harmonizer.build().fit(rows).transform(rows)
    assert list(out.columns) == list(rows.columns)
    assert out.index.equals(rows.index)
    pd.testing.assert_frame_equal(out[context_columns(rows)], rows[context_columns(rows)])
    pet = [column for column in rows if column.startswith("PET.")]
    pd.testing.assert_frame_equal(out[pet], rows[pet])


def test_new_rows_are_treated_alone_and_as_in_training(harmonizer: Harmonizer, table: FeatureTable) -> None:
    rows = table.rows()
    fitted = harmonizer.build().fit(rows)
    whole = fitted.transform(rows)
    shuffled = rows.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(fitted.transform(shuffled).loc[rows.index], whole, check_exact=True)
    pd.testing.assert_frame_equal(fitted.transform(rows.iloc[[17]]), whole.iloc[[17]], check_exact=True)
    twice = fitted.transform(pd.concat([rows, rows]))
    pd.testing.assert_frame_equal(twice.iloc[len(rows) :], whole, check_exact=True)
    pd.testing.assert_frame_equal(harmonizer.build().fit_transform(rows), whole, check_exact=True)


def test_the_input_is_not_written_to(harmonizer: Harmonizer, table: FeatureTable) -> None:
    rows = table.rows()
    kept = rows.copy(deep=True)
    harmonizer.build().fit(rows).transform(rows)
    pd.testing.assert_frame_equal(rows, kept, check_exact=True)


def test_the_outcome_changes_nothing(harmonizer: Harmonizer, table: FeatureTable) -> None:
    rows = table.rows()
    without = harmonizer.build().fit(rows).transform(rows)
    with_outcome = harmonizer.build().fit(rows, table.outcome).transform(rows)
    turned = harmonizer.build().fit(rows, 1 - table.outcome).transform(rows)
    pd.testing.assert_frame_equal(with_outcome, without, check_exact=True)
    pd.testing.assert_frame_equal(turned, without, check_exact=True)


def test_validation_rows_leave_the_fit_bit_identical(harmonizer: Harmonizer, table: FeatureTable) -> None:
    rows = table.rows()
    train = rows.iloc[:40]
    changed = rows.copy()
    changed.iloc[40:, : len(feature_columns(rows))] *= 1000.0
    first, second = harmonizer.build().fit(train), harmonizer.build().fit(changed.iloc[:40])
    assert pickle.dumps(first) == pickle.dumps(second)
    first.transform(rows)
    assert pickle.dumps(first) == pickle.dumps(second), "transform must not learn"


def test_an_unseen_batch_is_left_as_it_is_and_flagged(harmonizer: Harmonizer, table: FeatureTable) -> None:
    rows = table.rows()
    fitted = harmonizer.build().fit(rows)
    fresh = rows.iloc[:4].copy()
    fresh.loc[fresh.index[0], "@batch.CT"] = "new"
    fresh.loc[fresh.index[0], "@sex"] = None if "sex" in harmonizer.facts else fresh["@sex"].iloc[0]
    out, flags = fitted.transform(fresh), fitted.flagged(fresh)
    ct = table.columns_of("CT")
    pd.testing.assert_frame_equal(out.iloc[[0]][ct], fresh.iloc[[0]][ct], check_exact=True)
    if "CT" in flags:
        assert flags["CT"].tolist() == [True, False, False, False]


def test_clones_pickles_and_keeps_plain_reports(harmonizer: Harmonizer, table: FeatureTable) -> None:
    rows = table.rows()
    built = harmonizer.build()
    assert clone(built).get_params() == built.get_params()
    fitted = built.fit(rows)
    again = pickle.loads(pickle.dumps(fitted))
    pd.testing.assert_frame_equal(again.transform(rows), fitted.transform(rows), check_exact=True)
    json.dumps(fitted.report_, allow_nan=False)


def test_says_nothing_on_the_screen(
    harmonizer: Harmonizer, table: FeatureTable, capsys: pytest.CaptureFixture[str]
) -> None:
    result = Harmonize(harmonizer=harmonizer)(table)
    json.dumps(result.diagnostics, allow_nan=False)
    assert capsys.readouterr() == ("", "")


def test_a_dump_keeps_every_setting(harmonizer: Harmonizer) -> None:
    stage = Harmonize(harmonizer=harmonizer)
    assert Harmonize.model_validate(stage.model_dump(mode="json")) == stage
    assert stage.model_dump()["harmonizer"] == harmonizer.model_dump()


def test_rows_that_lack_a_modality_take_no_part_in_it(harmonizer: Harmonizer, table: FeatureTable) -> None:
    """What was put in their place, and the scanner it would have come from, change nothing; they come back as given."""
    ct, lacks = table.columns_of("CT"), np.arange(60) % 4 == 1
    others = [column for column in table.values if column not in ct]
    rows = table.rows().assign(**{"@missing.CT": lacks.astype(float), "@missing.MR_T1": 0.0})
    rows.loc[lacks, ct] = rows[ct].median().to_numpy()
    fitted = harmonizer.build().fit(rows)
    out = fitted.transform(rows)
    pd.testing.assert_frame_equal(out.loc[lacks, ct], rows.loc[lacks, ct], check_exact=True)
    fewer = harmonizer.build().fit(rows[~lacks]).transform(rows[~lacks])
    if harmonizer.method != "combat_gam" or not harmonizer.protect:  # its knots lie at quantiles of everyone's age
        pd.testing.assert_frame_equal(out.loc[~lacks, ct], fewer[ct], rtol=1e-9)
    whole = harmonizer.build().fit(table.rows()).transform(table.rows())
    pd.testing.assert_frame_equal(out[others], whole[others], check_exact=True)

    strange = rows.copy()
    strange.loc[lacks, ct] = 1e6
    strange.loc[lacks, "@batch.CT"] = "new"
    again = harmonizer.build().fit(strange)
    pd.testing.assert_frame_equal(again.transform(rows), out, check_exact=True)
    for rows_now in (rows, strange):
        flags = fitted.flagged(rows_now)
        assert not any(flags[modality].any() for modality in flags if modality in table.modalities)
    if "CT" in fitted.report_:
        report = fitted.report_["CT"]
        assert (report["rows_lacking"], report["rows_passed"], report["subjects_passed"]) == (15, 0, [])
        assert "15 rows lack the modality and take no part in it" in " ".join(report["flags"])


def test_where_nobody_lacks_a_modality_no_bit_changes(harmonizer: Harmonizer, table: FeatureTable) -> None:
    rows = table.rows()
    flagged = rows.assign(**{f"@missing.{modality}": 0.0 for modality in table.modalities})
    plain, with_flags = harmonizer.build().fit(rows), harmonizer.build().fit(flagged)
    pd.testing.assert_frame_equal(with_flags.transform(flagged)[list(rows)], plain.transform(rows), check_exact=True)
    pd.testing.assert_frame_equal(with_flags.transform(rows), plain.transform(rows), check_exact=True)
    pd.testing.assert_frame_equal(with_flags.flagged(rows), plain.flagged(rows))
    assert with_flags.report_ == plain.report_
