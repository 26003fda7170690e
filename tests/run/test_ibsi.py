"""The IBSI-1 scorecard: the reference values of the manual are the oracle."""

from pathlib import Path

import pandas as pd
import pytest

from radfuse.data.reading.images import write_mask, write_volume
from radfuse.data.volume import Mask, Volume
from radfuse.errors import ConfigError
from radfuse.extract.ibsi1.benchmark import CONFIGURATIONS
from radfuse.run import ibsi
from radfuse.run.ibsi import PLACES, Scorecard, reference_values, score, write_scorecard


def named(rows: pd.DataFrame) -> list[str]:
    return [f"{row.configuration} {row.tag}: {row.value} for {row.reference}" for row in rows.itertuples()]


@pytest.fixture(scope="module")
def digital() -> Scorecard:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RADFUSE_DATA", raising=False)
        return score()


@pytest.fixture(scope="module")
def everything(data_root: Path) -> Scorecard:
    if not any((data_root / place / "nifti").is_dir() for place in PLACES):
        pytest.skip(f"the IBSI-1 CT phantom is not in {data_root}; get it from github.com/theibsi/data_sets")
    return score(data_root)


def test_every_value_of_the_digital_phantom_agrees(digital: Scorecard) -> None:
    assert named(digital.failed) == []
    assert digital.total()[:2] == (482, 482)
    assert digital.total(in_pyradiomics=True)[:2] == (107, 107)
    assert set(digital.rows["configuration"]) == {"digital"}
    assert "A to E were not run" in digital.left_out
    assert "github.com/theibsi/data_sets" in digital.left_out


@pytest.mark.cohort
def test_every_value_of_the_ct_phantom_agrees(everything: Scorecard) -> None:
    assert named(everything.failed) == []
    assert everything.left_out == ""
    assert everything.total()[:2] == (2104, 2104)
    assert everything.total(in_pyradiomics=True)[:2] == (642, 642)
    by_configuration = everything.rows[everything.rows["in_pyradiomics"]].groupby("configuration").size()
    assert (by_configuration == 107).all()
    # On real images the tolerances are wide enough; only voxel sizes need the rounding, and two ways of counting.
    assert everything.rows.query("configuration != 'digital' and in_pyradiomics")["rounded"].sum() == 0


def test_the_reference_table_holds_what_is_compared(digital: Scorecard) -> None:
    table = reference_values()
    assert table[[each.name for each in CONFIGURATIONS]].notna().sum().to_dict() == {
        "digital": 482, "A": 406, "B": 406, "C": 270, "D": 270, "E": 270,
    }  # fmt: skip
    # From the manual's tables of the digital phantom: volume, joint entropy merged in space, zone distance entropy.
    assert table.loc["morph_volume", ["digital", "digital_tolerance"]].tolist() == [556, 4]
    assert table.loc["cm_joint_entr_3D_comb", "digital"] == 2.57
    assert table.loc["dzm_zd_entr_3D", "digital"] == 1.92
    assert (digital.rows["code"] != "").all()


def test_a_value_off_the_reference_is_found_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    table = reference_values()
    table.loc["stat_mean", "digital"] = 2.16
    monkeypatch.setattr(ibsi, "reference_values", lambda: table)
    monkeypatch.delenv("RADFUSE_DATA", raising=False)
    card = score()
    assert card.failed["tag"].tolist() == ["stat_mean"]
    assert card.total()[:2] == (481, 482)
    statistics = card.summary().set_index("family").loc["statistics"]
    assert (statistics["passed"], statistics["compared"]) == (17, 18)


def test_every_row_is_written(digital: Scorecard, tmp_path: Path) -> None:
    write_scorecard(tmp_path / "rows.csv", digital)
    written = pd.read_csv(tmp_path / "rows.csv", keep_default_na=False)
    assert len(written) == 482
    contrast = written.set_index("tag").loc["cm_contrast_3D_avg"]
    assert (contrast["column"], contrast["code"], contrast["reference"]) == ("original_glcm_Contrast", "ACUI", 5.32)


def test_a_folder_without_the_phantom_is_refused_only_when_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="holds no CT phantom"):
        score(tmp_path)
    monkeypatch.setenv("RADFUSE_DATA", str(tmp_path))
    assert "RADFUSE_DATA has no CT phantom" in score().left_out


@pytest.mark.parametrize(
    "place", [".", "ibsi_1_ct_radiomics_phantom", "phantoms/ibsi_1_ct_radiomics_phantom",
              "ibsi/phantoms/ibsi_1_ct_radiomics_phantom"],
)  # fmt: skip
def test_the_phantom_is_found_where_people_keep_it(place: str, tmp_path: Path, ct: Volume, sphere: Mask) -> None:
    for file in (ibsi.IMAGE, ibsi.MASK):
        (tmp_path / place / file).parent.mkdir(parents=True)
    write_volume(tmp_path / place / ibsi.IMAGE, ct)
    write_mask(tmp_path / place / ibsi.MASK, sphere)
    found, left_out = ibsi._ct_phantom(tmp_path)
    assert left_out == ""
    assert found is not None
    assert (found[0].array == ct.array.round()).all()
    assert (found[1].array == sphere.array).all()


@pytest.mark.slow
def test_a_run_explains_every_column_of_its_features(demo: Path) -> None:
    run = demo / "runs" / "main"
    columns = pd.read_csv(run / "features.csv", index_col=0, nrows=1).columns
    meaning = pd.read_csv(run / "dictionary.csv", keep_default_na=False)
    assert meaning["column"].tolist() == list(columns)
    codes = meaning.set_index("column")["ibsi_code"]
    contrast = meaning["column"].str.endswith("original_glcm_Contrast").to_numpy()
    assert codes[contrast].eq("ACUI").all()
    assert meaning.loc[contrast, "ibsi_aggregation"].eq("ITBB").all()
