"""The stages on manifests and tables of one's own."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import radfuse


@pytest.fixture
def tables(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Forty subjects of two sites; the outcome shows in one feature of each modality, the site in all of them."""
    n = 40
    subjects = [f"s{number:02d}" for number in range(n)]
    outcome, site = np.tile([0, 1], n // 2), np.repeat(["x", "y"], n // 2)
    values = {
        f"{modality}.original_firstorder_F{k}": rng.normal(size=n) + (outcome if k == 0 else 0) + 2.0 * (site == "y")
        for modality in ("CT", "PET")
        for k in range(6)
    }
    values["CT.original_shape_MeshVolume"] = rng.lognormal(3, 1, n)
    pd.DataFrame(values, index=pd.Index(subjects, name="subject")).to_csv(tmp_path / "F.csv")
    facts = {
        "subject": subjects,
        "y": outcome,
        "site": site,
        "age": rng.normal(60, 8, n).round(),
        "sex": ["F", "M"] * 20,
    }
    pd.DataFrame(facts).sample(frac=1, random_state=1).to_csv(tmp_path / "S.csv", index=False)
    return tmp_path


@pytest.mark.slow
def test_train_leaves_everything_in_its_folder(tables: Path) -> None:
    done = radfuse(
        "train", "--features", "F.csv", "--subjects", "S.csv", "--outcome", "y", "--batch", "site", "--fusion", "all",
        "-o", "RUN", "--set", "train.splits={folds: 3, repeats: 1}", cwd=tables,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "MLflow: mlflow ui" in done.stdout
    auc = pd.read_csv(tables / "RUN" / "report" / "auc.csv")
    assert {"single", "early", "intermediate", "late", "baseline"} == set(auc["fusion"])
    for name in ("report/index.html", "report/predictions.parquet", "splits.csv", "mlflow.db"):
        assert (tables / "RUN" / name).is_file(), name
    sealed = radfuse("export", "RUN", "-o", "SEALED", "--json", cwd=tables)
    assert sealed.returncode == 0, sealed.stderr
    assert list(json.loads(sealed.stdout)["arms"]) == ["early-logistic"]
    for place in ("RUN", "SEALED"):
        new = ("--features", "F.csv", "--subjects", "S.csv", "-o", f"{place}.csv")
        assert radfuse("predict", place, *new, cwd=tables).returncode == 0
    assert (tables / "RUN.csv").read_bytes() == (tables / "SEALED.csv").read_bytes()
    # What MLflow's registry gives does the same for the rows of a feature table.
    rows = pd.read_csv(tables / "F.csv", index_col="subject")
    facts = pd.read_csv(tables / "S.csv", index_col="subject").loc[rows.index]
    rows = rows.assign(**{"@batch.CT": facts["site"], "@batch.PET": facts["site"]})
    code = (
        "import sys, mlflow, pandas as pd; mlflow.set_tracking_uri('sqlite:///RUN/mlflow.db'); "
        "model = mlflow.pyfunc.load_model('models:/RUN-early-logistic@primary'); "
        "print(*model.predict(pd.read_pickle('rows.pkl'))[:, 1])"
    )
    rows.to_pickle(tables / "rows.pkl")
    served = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=tables, capture_output=True, text=True)
    assert served.returncode == 0, served.stderr
    said = pd.read_csv(tables / "RUN.csv")["score"]
    assert [float(score) for score in served.stdout.split()] == pytest.approx(said.tolist(), abs=1e-12)
    first = (tables / "RUN" / "report" / "auc.csv").read_bytes()
    again = radfuse(
        "train", "--features", "F.csv", "--subjects", "S.csv", "--outcome", "y", "--batch", "site",
        "-o", "RUN2", "--set", "train.splits={folds: 3, repeats: 1}", "--jobs", 1, cwd=tables,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert (tables / "RUN2" / "report" / "auc.csv").read_bytes() == first


def test_harmonize_removes_the_site_and_says_so(tables: Path) -> None:
    done = radfuse(
        "harmonize", "--features", "F.csv", "--subjects", "S.csv", "--batch", "site", "--protect", "age,sex",
        "-o", "H.csv", cwd=tables,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    before, after = (pd.read_csv(tables / name).set_index("subject") for name in ("F.csv", "H.csv"))
    assert list(after.columns) == list(before.columns)
    site = pd.read_csv(tables / "S.csv").set_index("subject")["site"].loc[before.index] == "y"
    for name in [column for column in before if "firstorder" in column]:
        gap = before[name][site].mean() - before[name][~site].mean()
        left = after[name][site].mean() - after[name][~site].mean()
        assert abs(left) < 0.35 < abs(gap)


@pytest.mark.parametrize(
    "role", [("--batch", "y"), ("--set", "train.baselines.clinical=[y]")], ids=["batch", "clinical"]
)
def test_the_outcome_may_not_be_looked_at(tables: Path, role: tuple[str, str]) -> None:
    done = radfuse("train", "--features", "F.csv", "--subjects", "S.csv", "--outcome", "y", *role, cwd=tables)
    assert done.returncode == 2
    assert "is the outcome and cannot be" in done.stderr


def test_the_outcome_may_not_be_protected(tables: Path) -> None:
    done = radfuse(
        "train", "--features", "F.csv", "--subjects", "S.csv", "--outcome", "y", "--batch", "site", "--protect", "y",
        cwd=tables,
    )  # fmt: skip
    assert done.returncode == 2
    assert "which is the outcome" in done.stderr


@pytest.mark.cohort
def test_extract_from_files_equals_the_pyradiomics_command(tmp_path: Path, sts: Path) -> None:
    rows = [("STS_002", m, sts / f"STS_002/{s}_image.nii.gz", sts / f"STS_002/{s}_mask.nii.gz")
            for m, s in (("CT", "CT"), ("PET", "PET"))]  # fmt: skip
    pd.DataFrame(rows, columns=["subject", "modality", "image", "mask"]).to_csv(tmp_path / "M.csv", index=False)
    (tmp_path / "P.yaml").write_text("imageType:\n  Original: {}\nsetting:\n  binWidth: 5\n")
    done = radfuse(
        "extract", "--manifest", "M.csv", "--params", "P.yaml", "--modality", "CT", "--jobs", 1, "-o", "F.csv",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ours = pd.read_csv(tmp_path / "F.csv").set_index("subject").loc["STS_002"]
    code = "import sys; from radiomics.scripts import parse_args; sys.exit(parse_args())"
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        code,
        str(rows[0][2]),
        str(rows[0][3]),
        "-p",
        str(tmp_path / "P.yaml"),
    ]
    subprocess.run([*command, "-o", str(tmp_path / "T.csv"), "-f", "csv"], check=True, capture_output=True)
    theirs = pd.read_csv(tmp_path / "T.csv").iloc[0]
    names = [name for name in theirs.index if name.startswith("original_")]
    assert len(names) == 107
    assert list(ours.index) == [f"CT.{name}" for name in names]
    for name in names:
        assert ours[f"CT.{name}"] == pytest.approx(float(theirs[name]), rel=1e-12, abs=1e-12), name
