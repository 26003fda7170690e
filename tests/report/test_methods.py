"""The methods paragraph says what the settings say, and nothing else."""

import io
import re
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from radfuse.config import Config
from radfuse.data.study import Study
from radfuse.data.table import FeatureTable
from radfuse.report.checklist import AUTHOR, CLEAR, METRICS, checklist_files
from radfuse.report.citations import REFERENCES, listed, numbered
from radfuse.report.methods import methods, methods_file
from radfuse.report.page import compose
from radfuse.report.stated import stated

COHORT = {"cohort": {"manifest": "m.csv", "outcome": "y", "modalities": ["CT", "PET"]}}


def study_of(**settings: Any) -> Study:
    config = Config.model_validate({**COHORT, **settings}).model_dump(mode="json")
    values = pd.DataFrame({"CT.a": [1.0, 2.0], "PET.a": [3.0, 4.0]}, index=pd.Index(["A", "B"], name="subject"))
    facts = pd.DataFrame({"outcome": [0, 1], "batch.CT": ["a", "b"]}, index=values.index)
    nobody = pd.DataFrame(columns=["subject", "stage", "what", "hint"])
    return Study("s", config, facts, nobody, table=FeatureTable(values, facts))


def paragraph(**settings: Any) -> str:
    """The paragraph without its numbers in brackets."""
    return re.sub(r" \[\d+\]", "", methods(study_of(**settings))[0])


@pytest.mark.parametrize(
    ("extract", "said"),
    [
        ({}, "2 features were extracted with radfuse's implementation of PyRadiomics' features from CT and PET."),
        ({"extractor": "pyradiomics"}, "extracted with PyRadiomics from CT and PET."),
        ({"ibsi": True}, "extracted as the IBSI reference manual defines them, its image processing included, from CT"),
        ({"regions": {"rim": {"method": "ring"}}}, "the drawn ones were measured too: rim (ring)."),
    ],
)
def test_what_was_measured(extract: dict[str, Any], said: str) -> None:
    assert said in paragraph(extract=extract)


def test_how_decisions_were_combined_and_which_features_were_steady() -> None:
    train = {"fusions": ["late", {"method": "late", "combine": "stacking"}], "stability": {"icc": 0.8}}
    text = paragraph(train=train)
    assert "with late and late (by stacking) fusion beside each modality alone." in text
    assert (
        "when the lower bound of their ICC(2,1) over the training subjects' repeated measurements was below 0.8."
        in text
    )
    assert "ICC" not in paragraph()


def test_imputation_and_selection_are_told_whatever_is_chosen() -> None:
    assert "Imputation (median) and selection (anova) were fitted on training rows only." in paragraph()
    assert stated(study_of())["missing"] == "median imputation, fitted in each fold"


@pytest.mark.parametrize(
    ("align", "said", "not_said"),
    [
        ({}, "resampled once, linearly, onto one grid", "Intensities"),
        ({"interpolation": "bspline"}, "resampled once, by bspline, onto one grid", "linearly"),
        ({"interpolation": {"PET": "lanczos", "CT": "linear"}}, "once, linearly (PET by lanczos), onto", "CT by"),
        ({"intensity": {"MR": ["n4", "zscore"], "CT": "physical"}},
         "Intensities were brought to a scale: MR by n4 then zscore and CT by physical.", "Partial-volume"),
        ({"fwhm_mm": {"PET": 6}, "partial_volume": {"PET": "rbv"}},
         "Partial-volume effects were corrected, guided by the outlines: PET (rbv).", "blurred"),
        ({"fwhm_mm": {"PET": 6, "CT": 1}, "partial_volume": {"PET": "rbv"}}, "common point spread", "Intensities"),
        ({"registration": "demons"}, "Registration was demons, judged by mutual information", "demons, by"),
        ({"registration": "bspline"}, "Registration was bspline, by mutual information", "judged"),
        ({"registration": {"method": "rigid", "gate": {"min_gain": 0.3}}},
         "only if mutual information rose by at least 30 %, no corner moved further than 60 mm, at least 50 % of the "
         "points stayed inside and registering back ended within 4 mm.", "judged"),
        ({"template": {"image": "/data/mni.nii.gz", "sha256": "0" * 64}, "reference": "CT"},
         "Of each subject CT was brought to the template mni.nii.gz by affine registration, and with it", "data"),
        ({"template": {"image": "mni.nii", "sha256": "0" * 64, "space": "subject", "modality": "PET"}},
         "Of each subject PET was brought to the template mni.nii by affine registration, whose mask", "For that"),
        ({"tissues": {"brain": {"of": "tool", "command": "/opt/hd-bet -i {image}", "release": "2.0"}, "fat": {}}},
         "For that alone were outlined: brain by hd-bet 2.0 and fat by hand or as given.", "template"),
    ],
)  # fmt: skip
def test_images_are_prepared_as_the_settings_say(align: dict[str, Any], said: str, not_said: str) -> None:
    text = paragraph(align=align)
    assert said in text
    assert not_said not in text


def test_a_table_without_batches_or_of_one_modality_claims_neither_harmonising_nor_fusion() -> None:
    study = study_of(harmonize={"harmonizer": "combat"}, train={"splits": {"repeats": 1}})
    assert study.table is not None
    values = study.table.values[["CT.a"]]
    alone = replace(study, table=FeatureTable(values, study.table.subjects[["outcome"]]))
    text, _ = methods(alone)
    assert "Features were not harmonised: no batches were declared." in text
    assert "combat" not in text
    assert "fusion beside" not in text
    assert "5 folds (seed 0)." in text
    assert "confounders" in stated(study)
    assert "confounders" not in stated(alone)


def test_a_table_of_ones_own_has_no_sections_of_images() -> None:
    """Its readers were told to run `radfuse align`, which cannot do anything there."""
    study = study_of()
    table = replace(study, config={name: study.config[name] for name in ("train", "harmonize")})
    for each, there in ((study, True), (table, False)):
        html, _ = compose(each, "title", 2, 10, 0)
        assert ("radfuse align" in html, "radfuse fuse" in html) == (there, there)


def test_papers_are_numbered_in_order_of_appearance_and_listed_once() -> None:
    settings = {"harmonize": {"harmonizer": "covbat"}, "train": {"classifiers": ["xgboost", "svm"]}}
    text, references = methods(study_of(**settings))
    numbers = [int(found) for found in re.findall(r"\[(\d+)\]", text)]
    assert list(dict.fromkeys(numbers)) == list(range(1, len(references) + 1))
    assert references == [r for r in references if r in REFERENCES.values()]
    place = references.index(REFERENCES["covbat"]) + 1
    assert f"harmonised by covbat [{place}]" in text
    assert f"xgboost [{references.index(REFERENCES['xgboost']) + 1}] and svm" in text
    assert "@" not in text
    written = methods_file(*methods(study_of(**settings))).decode()
    assert text in written
    assert all(line in written for line in listed(references))


def test_two_methods_of_one_paper_share_its_number() -> None:
    assert numbered("a [@mdafuse] b [@svm] c [@mdafuse_published]")[0] == "a [1] b [2] c [1]"


def test_the_checklists_hold_every_item_and_fill_in_what_the_run_states() -> None:
    study = study_of(harmonize={"harmonizer": "combat"})
    files = checklist_files(stated(study))
    metrics, clear = (pd.read_csv(io.BytesIO(files[name])).set_index("item") for name in ("metrics.csv", "clear.csv"))
    assert list(metrics.index) == list(range(1, 31))
    assert list(clear.index) == list(range(1, 59))
    assert "harmonised by combat in each fold" in metrics.loc[19, "stated"]
    assert clear.loc[36, "stated"] == metrics.loc[19, "stated"]
    assert clear.loc[30, "stated"] == "1 events among 2 subjects; folds are stratified by outcome"
    for author_only in (1, 8, 18, 52):
        assert clear.loc[author_only, "stated"] == AUTHOR
    assert metrics.loc[23, "stated"] == AUTHOR  # nothing was trained, so nothing was compared


def test_the_items_are_the_published_ones() -> None:
    """CLEAR items as CLEAR-E3 (doi:10.1186/s41747-024-00471-z) explains each by its number; METRICS, table 1."""
    published = {
        15: "Data split methodology", 17: "Definition of non-radiomic predictor variables",
        30: "Details of class imbalance", 36: "Handling of confounders", 37: "Model selection strategy",
        38: "Testing technique (e.g., internal, external)", 39: "Performance metrics and rationale for choosing",
        43: "Interpretability and explainability methods", 47: "Model performance evaluation",
        48: "Comparison with non-radiomic and combined approaches",
    }  # fmt: skip
    assert {item: CLEAR[item][0] for item in published} == published
    assert METRICS[23][0] == "Use of uni-parametric imaging or proof of its inferiority"
    assert METRICS[16][0] == "Appropriateness of dimensionality compared to data size"
    external = {"external": pd.DataFrame({"arm": ["early"]})}
    trained = replace(study_of(), auc=pd.DataFrame({"arm": ["early"], "fusion": "early"}), tables=external)
    internal, both = (str(stated(each).get(CLEAR[38][1])) for each in (study_of(), trained))
    assert internal == "internal: cross-validation only"
    assert both == "internal: cross-validation only; external: section External test"


def test_what_was_not_done_is_not_claimed() -> None:
    without = stated(study_of(harmonize={"harmonizer": "none"}))
    assert not {"confounders", "reliability", "calibration", "external", "explained", "performance"} & set(without)
    assert "reliability" in stated(study_of(train={"stability": {"icc": 0.8}}))
    everything = set(without) | {"confounders", "reliability"}
    asked = {topic for items in (METRICS, CLEAR) for _, topic in items.values()}
    assert everything <= asked | {"utility"}, "a topic that no item asks for"


def test_tuned_and_weighted_models_and_the_clinical_modality_are_told() -> None:
    members = ["svm", {"method": "svm", "tune": True}, {"method": "lda", "class_weight": "balanced"}]
    text = paragraph(train={"classifiers": members, "clinical_modality": ["age", "grade"]})
    assert "Models were svm and lda, " in text
    assert "Settings of svm were chosen by the AUC of inner folds of the training rows." in text
    assert "Of lda the outcomes were weighted as if equally common." in text
    assert "Clinical facts (age and grade) took part as a modality of their own" in text
    plain = paragraph()
    assert not [word for word in ("inner folds", "equally common", "Clinical facts") if word in plain]
