"""`radfuse stability` and `radfuse bins` on a phantom study: what they leave, what they keep, what they refuse."""

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pytest
from conftest import InProcess, radfuse
from typer.testing import CliRunner

from radfuse.cli.app import app
from radfuse.cli.bins import _tell as tell_bins
from radfuse.cli.options import StudyOptions
from radfuse.config import Config, read_config
from radfuse.data.row import FeatureRow
from radfuse.data.subject import Subject
from radfuse.errors import ConfigError, DataError, StageError
from radfuse.extract.stage import Extract
from radfuse.harmonize.stage import Harmonize
from radfuse.run import failures, stability
from radfuse.run.bins import bins_study
from radfuse.run.demo import write_demo
from radfuse.run.failures import judged_key, judged_state
from radfuse.run.misregistration import misregistration_tables, sensitivities
from radfuse.run.session import Session
from radfuse.run.stability import MOVEMENT, perform_stability, require_stability, stability_stands, stability_study
from radfuse.run.store import Record, Redo, Store, write_text
from radfuse.run.study import collect, plan_study
from radfuse.run.subjects import load_aligned, load_row
from radfuse.train.stage import Train
from radfuse.train.steps.stable import Stable

QUICK = ["align.registration=none", "fuse.methods=[average]", "stability.repeats=2", "execution.jobs=1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of three phantoms, aligned, fused, measured, and measured again twice."""
    path = tmp_path_factory.mktemp("study")
    write_demo(path, 3, 3)
    with opened(path) as session:
        session.align()
        session.fuse()
        session.extract()
        stability_study(session)
    return path


def config_of(folder: Path, *overrides: str) -> Config:
    return read_config(folder / "radfuse.yaml", [*QUICK, *overrides])


def opened(folder: Path, *overrides: str, **given: Any) -> Session:
    session = Session(config_of(folder, *overrides), folder, **given)
    session.executor = InProcess()  # type: ignore[assignment]
    return session


def rows_of(folder: Path, subject: str, kept: str = "stability") -> pd.DataFrame:
    return pd.read_parquet(folder / "runs/main" / kept / subject / "rows.parquet")


def test_the_unperturbed_row_is_that_of_extract_to_the_last_bit(folder: Path) -> None:
    for path in sorted((folder / "runs/main/extract").iterdir()):
        row, again = load_row(path, path.name).values, rows_of(folder, path.name).loc[0]
        assert list(row) == list(again.index)
        assert np.array(list(row.values())).tobytes() == again.to_numpy().tobytes()


def test_it_leaves_the_measurements_and_a_table_of_every_feature(folder: Path) -> None:
    root = folder / "runs/main"
    features = pd.read_parquet(root / "stability/features.parquet")
    assert features.index.names == ["subject", "perturbation"]
    assert list(features.columns) == list(pd.read_parquet(root / "features.parquet").columns)
    assert features.shape[0] == 3 * 3
    table = pd.read_csv(root / "stability/icc.csv")
    assert list(table.columns) == ["feature", "subjects", "perturbations", "icc", "low", "high", "verdict"]
    assert list(table["feature"]) == list(features.columns)
    assert set(table["perturbations"]) == {2}
    whole = table.set_index("feature")
    assert whole.loc["CT.original_shape_MeshVolume", "icc"] > 0.5
    varied = features.groupby(level="subject")["CT.original_firstorder_Mean"].nunique()
    assert (varied == 3).all()
    # One contour is measured in every modality: shape is the same in all of them, perturbed as well.
    for other in ("PET", "fused-average-CT_PET"):
        assert (features["CT.original_shape_MeshVolume"] == features[f"{other}.original_shape_MeshVolume"]).all()


def test_what_stands_is_not_measured_again_and_what_changed_is(folder: Path) -> None:
    with opened(folder) as session:
        stability_study(session)
        assert session.executor.done == []  # type: ignore[attr-defined]
    with opened(folder, "stability.icc='3,1'", "stability.confidence=0.9") as session:
        found = stability_study(session)
        assert session.executor.done == []  # type: ignore[attr-defined]
        assert found.table["icc"].notna().any()
    for override in ("stability.seed=1", "extract.parameters.CT={setting: {binWidth: 9}}", "align.spacing_mm=3.0"):
        with opened(folder, override, looking=True) as session:
            keys = {subject: stability._key(session, subject) for subject in session.ids}
            assert all(session.store.current("stability", s, key) is None for s, key in keys.items()), override
    with opened(folder, redo=Redo(everything=True)) as session:
        assert stability.plan_stability(session) == {"stability": {"reuse": 0, "redo": 3}}


@pytest.mark.slow
def test_a_worker_process_measures_the_same_bytes(folder: Path) -> None:
    kept = {path: path.read_bytes() for path in (folder / "runs/main/stability").glob("*/rows.parquet")}
    with Session(config_of(folder, "execution.jobs=2"), folder, redo=Redo(everything=True)) as session:
        stability_study(session)
    assert len(kept) == 3
    for path, content in kept.items():
        assert path.read_bytes() == content


def test_a_part_of_the_cohort_can_be_looked_at_but_not_trained_on(folder: Path) -> None:
    with opened(folder) as session:
        stability_study(session)
        require_stability(session)
        first = session.ids[:2]
    with opened(folder, only=first) as session:
        found = stability_study(session)
        assert set(found.table["subjects"]) <= {0, 1, 2}
        with pytest.raises(StageError, match="was made from other scans, settings or subjects") as caught:
            require_stability(session)
        assert "radfuse stability" in caught.value.hint
    with opened(folder) as session:
        stability_study(session)
        require_stability(session)


def test_training_refuses_measurements_of_other_settings(folder: Path, tmp_path: Path) -> None:
    with (
        opened(folder, "stability.seed=1") as session,
        pytest.raises(StageError, match="was made from other scans, settings or subjects"),
    ):
        require_stability(session)
    with opened(folder, run="another") as session, pytest.raises(StageError, match="which does not exist"):
        require_stability(session)


def test_what_fails_here_is_told_by_every_command_after_it(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    with opened(tmp_path) as session:
        ids, store = session.ids, session.store
        key = stability._key(session, ids[0])
        store.close(Record("stability", ids[0], key, "failed", 1.0, what="a wedge of air", hint="Look at it."))
        partly = store.read("stability", ids[1])
        assert partly is not None
        store.close(replace(partly, findings={"failed": {"2": "too small"}}))
        old = store.read("stability", ids[2])
        assert old is not None
        store.close(replace(old, key="of other settings", status="failed", what="of no account"))
        state = {"key": judged_key(session.ledger), "failed": [["late-svm", "train: two events", ""]]}
        write_text(store.root / "report" / "judged.json", json.dumps(state))
        told = [
            f"{ids[0]}: stability: a wedge of air",
            f"{ids[1]}: stability: 1 repetitions could not be measured, so it is in no ICC: too small",
            "late-svm: train: two events",
        ]
        session.align()
        assert [f"{each.subject}: {each.what}" for each in session.failures()] == told
    written = pd.read_csv(tmp_path / "runs/main/report/failures.csv")
    assert [f"{row.subject}: {row.stage}: {row.what}" for row in written.itertuples()] == told
    given = [tmp_path / "radfuse.yaml", *(word for override in QUICK for word in ("--set", override)), "-q"]
    done = CliRunner().invoke(app, ["align", *map(str, given)])
    assert done.exit_code == 1
    for line in told:
        assert line in done.stderr
    some = CliRunner().invoke(app, ["align", *map(str, given), "--subject", ids[2]])
    assert some.exit_code == 0
    with opened(tmp_path, "extract.parameters.CT={setting: {binWidth: 9}}", looking=True) as session:
        assert session.failures() == []


@pytest.mark.parametrize("changed", [(Train, "version"), (Harmonize, "version"), (failures, "libraries")])
def test_a_judgement_of_other_versions_is_not_shown_as_the_present_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: tuple[Any, str]
) -> None:
    with opened(folder, looking=True) as session:
        write_text(tmp_path / "judged.json", json.dumps({"key": judged_key(session.ledger), "failed": []}))
        monkeypatch.setattr(Store, "folder", lambda store, *place: tmp_path)
        assert judged_state(session.ledger) is not None
        monkeypatch.setattr(*changed, 99 if changed[1] == "version" else lambda *names: {"numpy": "0.1"})
        assert judged_state(session.ledger) is None


@pytest.mark.parametrize("steady", [True, False])
def test_the_written_out_pipeline_measures_again_where_the_command_does(monkeypatch: Any, steady: bool) -> None:
    place = Path(__file__).parents[2] / "pipelines" / "full.py"
    spec = importlib.util.spec_from_file_location("full", place)
    assert spec is not None
    assert spec.loader is not None
    full = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(full)
    session = MagicMock()
    session.__enter__.return_value = session
    session.config.train.stability = {} if steady else None
    session.failures.return_value = []
    monkeypatch.setattr(full, "Session", lambda *given: session)
    monkeypatch.setattr(full, "read_config", lambda *given: None)
    for stage in ("stability", "harmonize", "train"):
        monkeypatch.setattr(full, f"{stage}_study", getattr(session, stage))
    full.full(place, place)
    called = [name for name, *_ in session.method_calls if name in ("align", "fuse", "extract", "stability", "train")]
    assert called == ["align", "fuse", "extract", *(["stability"] if steady else []), "train"]


def test_a_plan_of_the_whole_run_has_the_measurements_that_training_waits_for(folder: Path, tmp_path: Path) -> None:
    stages = ("align", "fuse", "extract", "stability", "train")
    steady = "train.stability={icc: 0.5}"
    write_demo(tmp_path / "new", 3, 3)
    with opened(tmp_path / "new", steady, looking=True) as session:
        plan = plan_study(session, *stages)
        assert list(plan) == ["align", "fuse", "extract", "stability"]
        assert plan["stability"] == {"reuse": 0, "redo": 3}
    shutil.copytree(folder, tmp_path / "old")
    with opened(tmp_path / "old", steady, looking=True) as session:
        plan = plan_study(session, *stages)
        assert plan["stability"] == {"reuse": 3, "redo": 0}
        assert plan["train"]["reuse"] == 0 < plan["train"]["redo"]
    with opened(tmp_path / "old", looking=True) as session:
        assert "stability" not in plan_study(session, *stages)
    shutil.rmtree(tmp_path / "old/runs/main/stability/phantom-002")
    (tmp_path / "old/runs/main/stability/features.parquet").unlink()
    with opened(tmp_path / "old", steady, looking=True) as session:
        plan = plan_study(session, *stages)
        assert plan["stability"] == {"reuse": 2, "redo": 1}
        assert "train" not in plan
    (tmp_path / "old/runs/main/stability/stability.json").unlink()
    with (
        opened(tmp_path / "old", steady, looking=True) as session,
        pytest.raises(StageError, match=r"features\.parquet, which does not exist"),
    ):
        plan_study(session, "train")


def test_a_subject_that_failed_before_waits_for_no_measurement(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    with opened(tmp_path, "train.stability={icc: 0.5}", looking=True) as session:
        key = session.ledger.key(session.config.align, "phantom-001")
        session.store.close(Record("align", "phantom-001", key, "failed", 1.0, what="empty mask"))
        assert stability.plan_stability(session, whole_run=True) == {"stability": {"reuse": 2, "redo": 0}}
    with opened(tmp_path, redo=Redo(failed=True), looking=True) as session:
        assert stability.plan_stability(session, whole_run=True) == {"stability": {"reuse": 3, "redo": 0}}


def test_the_surroundings_reach_as_far_as_derived_regions(folder: Path) -> None:
    sizes = {}
    for outer_mm in (2.0, 6.0):
        rim = f"extract.regions={{rim: {{method: ring, outer_mm: {outer_mm}}}}}"
        with opened(folder, rim, "stability.margin_mm=4", "stability.chain=[noise]", looking=True) as session:
            task = stability._task(session, "phantom-001")
            whole = load_aligned(session.store, "phantom-001")
            sizes[outer_mm] = stability._perturbed(task, whole, 1, {"reference": "CT"}).volumes["CT"].geometry
    wider = np.array(sizes[6.0].size) - np.array(sizes[2.0].size)
    np.testing.assert_array_equal(wider, 2 * np.ceil(4.0 / np.array(sizes[2.0].spacing_mm)))


def test_one_subject_has_nothing_to_agree_with(folder: Path) -> None:
    with (
        opened(folder, only=["phantom-001"]) as session,
        pytest.raises(StageError, match="1 subjects are ready to be measured again, and agreement needs two"),
    ):
        stability_study(session)


def test_it_asks_for_align_first(folder: Path) -> None:
    with opened(folder, run="fresh") as session, pytest.raises(StageError, match="no result of align"):
        stability_study(session)


def test_fused_anew_takes_the_perturbed_modalities(folder: Path) -> None:
    """Averaging is linear: without noise and with whole grids both ways agree but for the error of alignment."""
    chain = "stability.chain=[{method: growth}]"
    found = {}
    for how in ("perturbed", "again"):
        with opened(folder, chain, f"stability.fused={how}", run="main") as session:
            task = stability._task(session, "phantom-001")
            assert (task.fuse is not None) == (how == "again")
            assert perform_stability(task).done
            found[how] = rows_of(folder, "phantom-001")
    assert list(found["again"].columns) == list(found["perturbed"].columns)
    assert found["again"].to_numpy() == pytest.approx(found["perturbed"].to_numpy(), rel=1e-6, nan_ok=True)
    moved = "stability.chain=[{method: alignment, sigma_mm: {CT: 0, PET: 4}}]"
    with opened(folder, moved, "stability.fused=again") as session:
        assert perform_stability(stability._task(session, "phantom-001")).done
        rows = rows_of(folder, "phantom-001", "misregistration")
    assert (rows["CT.original_firstorder_Mean"].nunique(), rows["PET.original_firstorder_Mean"].nunique()) == (1, 3)
    assert rows["fused-average-CT_PET.original_firstorder_Mean"].nunique() == 3
    with (
        opened(folder, "stability.fused=again", "align.mask=own") as session,
        pytest.raises(ConfigError, match="needs one region for all modalities"),
    ):
        stability_study(session)


def test_a_repetition_that_fails_is_told_and_counts_for_nothing(folder: Path, monkeypatch: Any) -> None:
    measure = Extract.__call__

    def fails_on_smaller(stage: Extract, subject: Subject, device: str = "cpu") -> FeatureRow:
        if subject.masks["CT"].voxels < whole:
            raise DataError("too small for words")
        return measure(stage, subject, device)

    with opened(folder, "stability.chain=[growth]", "stability.repeats=6") as session:
        task = stability._task(session, "phantom-001")
        whole = load_aligned(session.store, "phantom-001").masks["CT"].voxels
        monkeypatch.setattr(Extract, "__call__", fails_on_smaller)
        record = perform_stability(task)
    rows = rows_of(folder, "phantom-001")
    assert record.done
    missing = rows.index[rows.isna().all(axis=1)]
    assert 0 < len(missing) < 6
    assert record.findings["failed"] == dict.fromkeys(map(str, missing), "too small for words")


def test_normalising_parameters_see_the_whole_image(folder: Path) -> None:
    with opened(folder, "extract.parameters.CT={setting: {normalize: true}}", looking=True) as session:
        assert stability._normalizes(session.config.extract, ["PET", "CT"])
        assert not stability._normalizes(session.config.extract, ["PET"])


def test_bins_are_advised_for_every_set_of_parameters(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with opened(folder) as session:
        found = bins_study(session)
    assert found.subjects == ("phantom-001", "phantom-002", "phantom-003")
    assert [(each.place, each.regions) for each in found.advice] == [("CT", 3), ("PET", 3)]  # fused ones by binCount
    for each in found.advice:
        assert 30 <= each.advised.median <= 130
    tell_bins(found, True, StudyOptions(as_json=True))
    told = json.loads(capsys.readouterr().out)
    assert told["subjects"] == list(found.subjects)
    assert [each["yaml"] for each in told["advice"]] == [each.yaml for each in found.advice]


def command(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_commands_say_it_in_words(folder: Path) -> None:
    given = [folder / "radfuse.yaml", *(word for override in QUICK for word in ("--set", override)), "-q"]
    said = command("stability", *given)
    assert "of 107 features are good or excellent" in said
    assert "  shape: " in said
    assert "icc.csv" in said
    assert command("stability", *given, "--dry-run").strip() == "stability: reuse 3, redo 0"
    told = json.loads(command("stability", *given, "--json"))
    assert sum(row["features"] for row in told["counts"]) == 3 * 107
    said = command("bins", *given)
    assert "looked at 3 subjects: all of the manifest" in said
    assert "setting: {binWidth: " in said
    assert "leave it out: --subject" in said
    tested = command("bins", *given, "--set", "external.manifest=nowhere.csv", "--subject", "phantom-001")
    assert "looked at 1 subject: phantom-001\nnone of external.manifest, which stays the test set" in tested


@pytest.mark.slow
def test_a_whole_run_drops_what_is_unstable_in_each_fold(tmp_path: Path) -> None:
    write_demo(tmp_path, 5, 14)
    settings = [
        "align.registration=none", "fuse.methods=[]", "stability.repeats=2", "train.bootstrap=50",
        "train.splits={folds: 2, repeats: 1}", "train.fusions=[late]", "train.stability={icc: 0.5, by: estimate}",
    ]  # fmt: skip
    given = [tmp_path / "radfuse.yaml", *(word for setting in settings for word in ("--set", setting))]
    done = radfuse("run", *given, "-q")
    assert done.returncode == 0, done.stderr
    reports = json.loads((tmp_path / "runs/main/train/late-logistic/folds.json").read_text())
    dropped = [report["left_out_unstable"] for report in reports]
    assert all(dropped)
    assert dropped[0] != dropped[1]  # each fold asks its own training subjects
    for report in reports:
        chosen = {column for columns in report["chosen"].values() for column in columns}
        assert chosen
        assert not chosen & set(report["left_out_unstable"])
    refused = radfuse("train", *given, "--set", "stability.seed=1", "-q")
    assert refused.returncode == 2
    assert "was made from other scans, settings or subjects" in refused.stderr
    assert "Run `radfuse stability`" in refused.stderr


def test_misregistration_alone_ranks_features_and_training_drops_those_that_do_not_survive(
    folder: Path, tmp_path: Path
) -> None:
    ordinary = folder / "runs/main/stability"
    before = {path.relative_to(ordinary): path.read_bytes() for path in ordinary.rglob("*") if path.is_file()}
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    chain = "stability.chain=[{method: alignment, sigma_mm: {PET: 4.0}}]"
    with opened(tmp_path, chain, "stability.repeats=3") as session:
        found = stability_study(session)
        assert stability_stands(session)
    assert found.folder.name == "misregistration"
    for path, content in before.items():
        assert (tmp_path / "runs/main/stability" / path).read_bytes() == content, path
    with opened(tmp_path, chain, "train.stability={}") as session, pytest.raises(ConfigError, match="kept in misreg"):
        require_stability(session)
    with opened(tmp_path) as session:
        require_stability(session)  # the ordinary ones stand, and the report has both
        study = collect(session)
    icc = found.table.set_index("feature")["icc"]
    mean = {name: f"{name}.original_firstorder_Mean" for name in ("CT", "PET")}
    assert icc[mean["CT"]] == 1.0  # the reference stays where it is
    assert icc[mean["PET"]] < 1.0
    table = pd.read_csv(found.folder / MOVEMENT)
    pd.testing.assert_frame_equal(study.tables["misregistration"], table)
    assert set(table["modality"]) == {"PET", "fused-average-CT_PET"}
    assert table["moved_sd_per_mm"].dropna().is_monotonic_decreasing
    moved = table.set_index("feature")
    assert moved.loc[mean["PET"], "moved_sd_per_mm"] > 0.0
    assert moved.loc["PET.original_shape_MeshVolume", "moved_sd_per_mm"] == 0.0  # the region stays as well
    # The mean square length of nine shifts of 4 mm along each axis: chi squared with 27 degrees of freedom.
    assert moved.loc[mean["PET"], "error_mm"] == pytest.approx(4.0 * 3**0.5, rel=0.4)
    perturbed = pd.read_parquet(found.folder / "features.parquet")
    rows = perturbed.xs(0, level="perturbation")[list(mean.values())]
    step = Stable(icc=0.5 * (1.0 + icc[mean["PET"]]), by="estimate").fit(rows, perturbed=perturbed)
    assert step.kept_ == [mean["CT"]]
    assert step.dropped_ == [mean["PET"]]
    with opened(tmp_path, "extract.parameters.CT={setting: {binWidth: 9}}", looking=True) as session:
        assert "misregistration" not in misregistration_tables(session)  # of other features


def test_what_a_shift_would_do_is_computed_once_and_the_most_doubtful_are_shown(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    with opened(tmp_path, looking=True) as session:
        assert sensitivities(session).empty
    with opened(tmp_path, "report.examples=2") as session:
        study = collect(session)
        assert len(session.executor.done) == 3  # type: ignore[attr-defined]
        table = study.tables["sensitivity"]
        assert list(table["scan"]) == ["PET"] * 3  # the reference is not registered
        assert set(table["error_mm"]) == {2.0}
        assert len(pd.read_csv(session.store.folder("sensitivity") / "sensitivity.csv")) == 3
        aligned = load_aligned(session.store, table["subject"][0])
        inside = aligned.volumes["PET"].array[aligned.masks["PET"].inside]
        assert table["mean"][0] == pytest.approx(float(inside.astype(float).mean()))
        worst = table.sort_values("share", ascending=False, kind="stable")["subject"]
        assert [each.id for each in study.examples] == list(worst[:2])
        assert study.examples[0].findings["align"]["reference"] == "CT"
    with opened(tmp_path) as session:
        pd.testing.assert_frame_equal(sensitivities(session), table)
        assert session.executor.done == []  # type: ignore[attr-defined]
        first = table["subject"][0]
        record = session.store.read("sensitivity", first)
        assert record is not None
        session.store.close(replace(record, status="failed", findings={}, what="no such volume"))
        assert first not in set(sensitivities(session)["subject"])  # told of those of whom it can be told
        session.store.close(replace(record, status="failed", findings={}, transient=True))
        assert len(sensitivities(session)) == 3  # a failure of the machine is tried again
        own = session.config.align.model_copy(update={"mask": "own"})
        session.config = session.config.model_copy(update={"align": own})
        assert session.ledger.done(own, first) is not None  # the ledger keeps its keys
        assert sensitivities(session).empty  # a region drawn on the scan itself lies on it
    with opened(tmp_path, "report.registration_error_mm=4.0") as session:
        stated = sensitivities(session)
        assert set(stated["error_from"]) == {"stated"}
        np.testing.assert_allclose(stated["first_order"], 2 * table["first_order"])
