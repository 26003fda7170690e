"""`radfuse harmonize`: what it says, what it leaves on disk, and the table that no AUC is made from."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from radfuse.cli.app import app
from radfuse.config import Config
from radfuse.data.table import FeatureTable
from radfuse.errors import ConfigError, StageError
from radfuse.harmonize.none import Untouched
from radfuse.harmonize.stage import Harmonize
from radfuse.run.harmonizing import associate, associate_study, by_batches, refuse_associated
from radfuse.run.models import load_model
from radfuse.run.progress import Silent
from radfuse.run.store import Store
from radfuse.run.tables import harmonize_table, train_table


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    n = 80
    site, kernel = np.array(["a", "b"])[rng.integers(0, 2, n)], np.array(["soft", "sharp"])[rng.integers(0, 2, n)]
    values = rng.normal(0, 1, (n, 12)) + 2.0 * (site == "b")[:, None] + 1.5 * (kernel == "soft")[:, None]
    ids = [f"S{place:02d}" for place in range(n)]
    features = pd.DataFrame(values, columns=[f"CT.F{place}" for place in range(12)])
    features.assign(subject=ids).to_csv(tmp_path / "features.csv", index=False)
    facts = {"subject": ids, "site": site, "kernel": kernel, "age": rng.normal(60, 9, n), "lung": rng.integers(0, 2, n)}
    pd.DataFrame(facts).to_csv(tmp_path / "subjects.csv", index=False)
    return tmp_path


def harmonise(tables: Path, name: str, association: bool = False, **columns: str) -> str:
    given = {"batch": "site", "outcome": None, "protect": ""} | columns
    return harmonize_table(
        tables / "features.csv", tables / "subjects.csv", given, [], tables / name, association=association
    )


def test_says_the_verdict_and_leaves_table_figures_and_harmoniser(tables: Path) -> None:
    said = harmonise(tables, "out.csv", protect="age")
    assert "CT: 100% of the features differ between batches before, 0% after" in said
    left = sorted(path.name for path in tables.glob("out.*"))
    assert left == [
        "out.csv",
        "out.densities.svg",
        "out.diagnostics.json",
        "out.effects.csv",
        "out.pca.svg",
        "out.skops",
    ]
    effects = pd.read_csv(tables / "out.effects.csv", index_col="feature")
    assert (effects["location_q_before"] < 0.05).all()
    assert (effects["location_q_after"] > 0.05).all()
    fitted = load_model(tables / "out.skops")
    rows = pd.read_csv(tables / "features.csv", index_col="subject")
    facts = pd.read_csv(tables / "subjects.csv", index_col="subject")
    table = FeatureTable(rows, facts[["site", "age"]].rename(columns={"site": "batch.CT"}))
    again = fitted.transform(table.rows())[list(rows.columns)]
    np.testing.assert_allclose(again, pd.read_csv(tables / "out.csv", index_col="subject"), rtol=1e-12)


def test_the_same_table_gives_the_same_files(tables: Path) -> None:
    for name in ("one.csv", "two.csv"):
        harmonise(tables, name, protect="age")
    for kind in ("csv", "densities.svg", "pca.svg", "effects.csv", "diagnostics.json"):
        assert (tables / f"one.{kind}").read_bytes() == (tables / f"two.{kind}").read_bytes()


def test_several_batch_columns_are_nested(tables: Path) -> None:
    harmonise(tables, "out.csv", batch="site,kernel")
    report = pd.read_json(tables / "out.diagnostics.json", typ="series")["CT"]
    assert report["report"]["order"] == ["batch", "kernel"]
    assert report["others"]["kernel"]["kruskal"]["before"] == 1.0
    assert report["others"]["kernel"]["kruskal"]["after"] == 0.0
    settings = {"harmonizer": "zscore"}
    with pytest.raises(ConfigError, match="--batch names 2 columns, and the method is zscore"):
        by_batches("site,kernel", settings)


def test_the_outcome_is_refused_as_a_covariate(tables: Path) -> None:
    with pytest.raises(ConfigError, match="--protect names 'lung', which is the outcome") as error:
        harmonise(tables, "out.csv", protect="lung", outcome="lung")
    assert "--association" in error.value.hint


def test_no_auc_is_made_from_an_association_table(tables: Path) -> None:
    said = harmonise(tables, "out.csv", association=True, outcome="lung")
    assert "Never train on it" in said
    assert not (tables / "out.skops").exists(), "a harmoniser that wants the outcome is of no use to new patients"
    columns = {"outcome": "lung", "batch": "site", "protect": ""}
    for name in ("out.csv", "renamed.csv"):
        (tables / name).write_bytes((tables / "out.csv").read_bytes())
        with pytest.raises(StageError, match="harmonised with the outcome protected"):
            train_table(tables / name, tables / "subjects.csv", columns, "all", [], tables / "run", Silent())
    refuse_associated(["CT.F0"], tables / "features.csv")


def test_association_protects_the_outcome_and_needs_one(tables: Path) -> None:
    """The outcome's effect survives where the scanner goes with it; without its protection half of it is gone."""
    rng = np.random.default_rng(3)
    outcome = np.arange(200) % 2
    site = np.where(rng.random(200) < np.where(outcome == 1, 0.8, 0.2), "b", "a")
    values = rng.normal(0, 1, (200, 10)) + 1.0 * outcome[:, None] + 2.0 * (site == "b")[:, None]
    ids = pd.Index([f"S{place}" for place in range(200)], name="subject")
    features = pd.DataFrame(values, index=ids, columns=[f"CT.F{place}" for place in range(10)])
    table = FeatureTable(features, pd.DataFrame({"outcome": outcome, "batch.CT": site}, index=ids))
    kept, lost = associate(Harmonize(), table).table.values, Harmonize()(table).table.values
    effect = [float((each[outcome == 1].mean() - each[outcome == 0].mean()).mean()) for each in (kept, lost)]
    assert effect[0] == pytest.approx(1.0, abs=0.2)
    assert effect[1] < 0.8
    with pytest.raises(ConfigError, match="--association needs an outcome"):
        harmonise(tables, "out.csv", association=True)
    with pytest.raises(ConfigError, match="the method none protects no covariates"):
        associate(Harmonize(harmonizer=Untouched()), table)


def test_the_command_passes_its_options_on(tables: Path) -> None:
    given = ["--features", tables / "features.csv", "--subjects", tables / "subjects.csv", "--batch", "site"]
    given += ["--outcome", "lung", "--association", "-o", tables / "out.csv"]
    result = CliRunner().invoke(app, ["harmonize", *map(str, given)])
    assert result.exit_code == 0, result.output
    assert "The outcome was protected" in result.output


def test_in_a_study_the_association_table_lies_apart(tables: Path) -> None:
    rows = pd.read_csv(tables / "features.csv", index_col="subject")
    facts = pd.read_csv(tables / "subjects.csv", index_col="subject")[["site", "lung"]]
    table = FeatureTable(rows, facts.set_axis(["batch.CT", "outcome"], axis=1))
    asked = []
    session = SimpleNamespace(
        everyone=asked.append,
        config=SimpleNamespace(harmonize=Harmonize()),
        table=lambda: table,
        store=Store(tables / "run"),
    )
    said = associate_study(session)  # type: ignore[arg-type]
    assert asked == ["harmonize"]
    assert "association table in" in said
    left = sorted(path.name for path in (tables / "run" / "association").iterdir())
    assert left == ["densities.svg", "diagnostics.json", "effects.csv", "features.csv", "pca.svg"]
    assert not (tables / "run" / "harmonize").exists()
    with pytest.raises(StageError, match="harmonised with the outcome protected"):
        refuse_associated(list(pd.read_csv(tables / "run" / "association" / "features.csv").columns), tables)


def test_a_study_carries_the_columns_that_nested_combat_needs() -> None:
    nested = {"method": "nested_combat", "then": {"CT": ["kernel"]}, "protect": ["age"]}
    given = {"cohort": {"manifest": "m.csv", "outcome": "lung"}, "harmonize": {"harmonizer": nested}}
    assert Config.model_validate(given).columns.covariates == ("age", "kernel")
    leak = {**given, "cohort": {"manifest": "m.csv", "outcome": "kernel"}}
    with pytest.raises(ConfigError, match="'kernel' is the outcome and cannot be a covariate too"):
        _ = Config.model_validate(leak).columns
