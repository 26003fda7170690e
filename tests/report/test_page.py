"""The whole page: what it must say, what it must not load, and that it is the same every time."""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest

from radfuse.data.geometry import Geometry
from radfuse.data.predictions import Predictions
from radfuse.data.study import Study
from radfuse.data.subject import Subject
from radfuse.data.table import FeatureTable
from radfuse.data.volume import Mask, Volume
from radfuse.report import page as page_module
from radfuse.report.methods import methods
from radfuse.report.stage import Page, Report

HOSTILE = "<script>alert(1)</script>"
VERDICT = "early-logistic 0.81 against single-PET-logistic 0.72: do not claim a gain."
ARMS = {
    "single-CT-logistic": ("single", "CT", 0.61),
    "single-PET-logistic": ("single", "PET", 0.72),
    "image-fused-average-CT_PET-logistic": ("image", "fused-average-CT_PET", 0.64),
    "early-logistic": ("early", "CT+PET", 0.81),
    "intermediate": ("intermediate", "CT+PET", 0.70),
    "late-logistic": ("late", "CT+PET", 0.78),
    "baseline-volume": ("baseline", "CT", 0.66),
}
CONFIG: dict[str, Any] = {
    "align": {"spacing_mm": 2.0, "reference": "CT", "registration": {"method": "rigid", "gate": {"min_gain": 0.25}}},
    "fuse": {"methods": [{"method": "average"}, {"method": "dwt3d"}]},
    "extract": {"parameters": {"CT": {}}},
    "harmonize": {"harmonizer": {"method": "combat", "protect": ["age"]}},
    "train": {
        "classifiers": [{"method": "logistic"}],
        "fusions": [{"method": "early"}, {"method": "late"}],
        "splits": {"folds": 4, "repeats": 2, "seed": 3},
        "bootstrap": 2000,
        "confidence": 0.95,
        "primary": {"fusion": "early", "against": "PET"},
    },
}
NO_FAILURES = pd.DataFrame(columns=["subject", "stage", "what", "hint"])


class Reader(HTMLParser):
    """Collects tags with their attributes, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, Mapping[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[Mapping[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def study(grid: Geometry, sphere: Mask, ct: Volume, pet: Volume) -> Study:
    """Twenty-four subjects, the first of which is called like an attack."""
    rng = np.random.default_rng(5)
    index = pd.Index([HOSTILE, *(f"s{number:02d}" for number in range(1, 24))], name="subject")
    facts = pd.DataFrame(
        {
            "outcome": (np.arange(24) % 3 == 0).astype(int),
            "batch.CT": np.where(np.arange(24) % 2, r"scanner $\frac$", "scanner <b>B</b>"),
            "age": rng.normal(60, 9, 24).round(1),
            "sex": np.where(np.arange(24) % 4 < 2, "F", "M"),
        },
        index=index,
    )
    columns = [f"{m}.original_firstorder_F{i}" for m in ("CT", "PET", "fused-average-CT_PET") for i in range(4)]
    values = pd.DataFrame(rng.normal(size=(24, 12)), index=index, columns=columns)
    values.iloc[3, 1] = np.nan
    values["PET.original_firstorder_F3"] = 1.0
    fused = ct.with_array((ct.array + pet.array).astype(np.float32), "fused")
    patient = Subject(
        HOSTILE,
        {"CT": ct, "PET": pet, "fused-average-CT_PET": replace(fused, modality="fused-average-CT_PET")},
        {"CT": sphere, "PET": sphere},
        findings={"align": {"reference": "CT"}},
    )
    auc = pd.DataFrame(
        [
            {"arm": arm, "fusion": fusion, "modalities": parts, "classifier": "logistic", "auc": value,
             "ci_low": value - 0.1, "ci_high": value + 0.1, "n": 24, "events": 8, "auc_pooled": value - 0.01}
            for arm, (fusion, parts, value) in ARMS.items()
        ]
    )  # fmt: skip
    return Study(
        name="phantoms & friends",
        config=CONFIG,
        roster=facts.assign(status=["failed", *["complete"] * 23]),
        failures=pd.DataFrame([(HOSTILE, "align", "the <mask> is empty", "Draw it.")], columns=NO_FAILURES.columns),
        findings={"align": findings()},
        examples=(patient,),
        table=FeatureTable(values, facts),
        harmonization={"CT": diagnosed(rng, facts)},
        predictions=scored(facts, rng),
        auc=auc,
        contrast={"arm": "early-logistic", "against": "single-PET-logistic", "verdict": VERDICT, "p": 0.2},
        seconds={"align": 12.345},
        environment={"radfuse": "0.1.0", "python": "3.11.9"},
    )


def findings() -> dict[str, Any]:
    moved = {"accepted": True, "reason": "clearly better than the headers", "displacement_mm": 7.4}
    kept = {"accepted": False, "reason": "headers kept: registering back ends 9.1 mm off", "similarity_before": 0.5}
    change = {"CT": {"before_ml": 10.0, "after_ml": 9.0, "relative": -0.1}}
    touching = [f"the region measured in {scan} touches the border of the grid" for scan in ("CT", "PET")]
    return {
        "s01": {"reference": "CT", "registration": {"PET": kept}, "region": {"change": change}, "warnings": touching},
        "s02": {"reference": "CT", "registration": {"PET": moved}},
        "s03": {},
    }


def diagnosed(rng: np.random.Generator, facts: pd.DataFrame) -> dict[str, Any]:
    return {
        "kruskal": {"before": 0.42, "after": 0.03},
        "variance_explained": {"batch": {"before": 0.2, "after": 0.01, "chance": 0.04}},
        "batch_accuracy": {"before": 0.91, "after": 0.48, "chance": 0.5},
        "pca": {
            "before": rng.normal(size=(24, 2)).tolist(),
            "after": rng.normal(size=(24, 2)).tolist(),
            "batch": facts["batch.CT"].tolist(),
            "subjects": facts.index.tolist(),
        },
        "verdict": "42 % of the features differ before, 3 % after.",
    }


def scored(facts: pd.DataFrame, rng: np.random.Generator) -> Predictions:
    parts = []
    for arm, (fusion, modalities, _) in ARMS.items():
        for repeat in range(2):
            part = pd.DataFrame({"subject": facts.index, "outcome": facts["outcome"].to_numpy()})
            score = rng.normal(size=24) + part["outcome"]
            parts.append(part.assign(arm=arm, fusion=fusion, modalities=modalities, classifier="logistic",
                                     repeat=repeat, fold=np.arange(24) // 3 % 4, score=score))  # fmt: skip
    return Predictions(pd.concat(parts, ignore_index=True))


@pytest.fixture(scope="module")
def page(study: Study) -> Page:
    return Report(resamples=20)(study)


@pytest.fixture(scope="module")
def read(page: Page) -> Reader:
    return Reader(page.html)


def test_the_answer_comes_first(read: Reader) -> None:
    assert VERDICT in read.text
    assert read.text.index(VERDICT) < read.text.index("Subjects and events")


def test_every_arm_is_in_the_table_with_its_interval(read: Reader) -> None:
    table = read.text[read.text.index("Arms by fusion level and AUC") :]
    for arm, (fusion, parts, auc) in ARMS.items():
        assert f"{arm} {fusion} {parts} logistic {auc:.3f} {auc - 0.1:.3f} to {auc + 0.1:.3f} 24 8" in table


def test_arms_go_by_fusion_level_and_then_from_the_best_down(read: Reader) -> None:
    table = read.text[read.text.index("Arms by fusion level and AUC") :]
    wanted = sorted(ARMS, key=lambda arm: (list(dict.fromkeys(f for f, _, _ in ARMS.values())).index(ARMS[arm][0]),
                                           -ARMS[arm][2]))  # fmt: skip
    assert sorted(ARMS, key=table.index) == wanted


def test_an_arm_that_does_not_beat_the_volume_is_named(read: Reader) -> None:
    said = "2 of 6 arms do not beat the tumour's volume alone (AUC 0.66): "
    assert said + "image-fused-average-CT_PET-logistic, single-CT-logistic." in read.text


def test_when_no_arm_beats_the_volume_it_says_none(study: Study) -> None:
    assert study.auc is not None
    auc = study.auc.assign(auc=study.auc["auc"].where(study.auc["fusion"] == "baseline", 0.6))
    html = Report(resamples=5, examples=0)(replace(study, auc=auc, predictions=None)).html
    assert "None of the 6 arms beats the tumour&#39;s volume alone (AUC 0.66)." in html


def test_an_auc_too_good_is_doubted(study: Study) -> None:
    assert study.auc is not None
    auc = study.auc.assign(auc=study.auc["auc"] + 0.15)
    html = Report(resamples=5, examples=0)(replace(study, auc=auc, predictions=None)).html
    assert "The highest AUC is 0.96. Above 0.9" in html


def test_hostile_text_stays_text(page: Page, read: Reader) -> None:
    assert HOSTILE not in page.html
    assert read.all("script") == []
    assert read.all("b") == []
    assert HOSTILE in read.text
    assert "the <mask> is empty" in read.text


def test_nothing_is_loaded_and_nothing_may_be(page: Page, read: Reader) -> None:
    assert re.findall(r"https?:", page.html) == []
    sources = [a.get("src") for a in read.all("img")]
    assert len(sources) == 9
    assert all(str(source).startswith("data:image/") for source in sources)
    assert [tag for tag, _ in read.tags if tag in ("link", "iframe", "object", "embed", "form")] == []
    assert all(str(a["href"]).startswith("#") for a in read.all("a"))
    assert not any(name == "style" or name.startswith("on") for _, a in read.tags for name in a)


def test_the_policy_allows_our_style_sheet_and_no_other(page: Page, read: Reader) -> None:
    policy = next(a["content"] for a in read.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    style = page.html.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in str(policy)
    assert str(policy).startswith("default-src 'none';")


def test_what_was_done_is_worked_out_once_for_the_page_and_the_files(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    for name in ("methods", "stated"):
        honest = getattr(page_module, name)
        told = lambda given, name=name, honest=honest: calls.append(name) or honest(given)  # noqa: E731
        monkeypatch.setattr(page_module, name, told)
    written = Report()(replace(study, examples=()))
    assert sorted(calls) == ["methods", "stated"]
    assert methods(study)[0].encode() in written.files["methods.md"]
    assert "stated" in written.files["clear.csv"].decode()


def test_the_same_study_gives_the_same_bytes(study: Study, page: Page) -> None:
    assert Report(resamples=20)(study) == page


def test_another_seed_changes_the_bands_only(study: Study, page: Page) -> None:
    other = Report(resamples=20, seed=1)(study)
    assert {name for name in page.files if page.files[name] != other.files[name]} == {"roc.svg"}


def test_the_charts_are_kept_beside_the_page(page: Page) -> None:
    charts = {name: content for name, content in page.files.items() if name.endswith(("png", "svg"))}
    assert set(charts) == {"features.png", "batches.svg", "roc.svg", "auc.svg"}
    assert all(content.startswith(b"\x89PNG" if name.endswith("png") else b"<?xml")
               for name, content in charts.items())  # fmt: skip
    assert {"methods.md", "metrics.csv", "clear.csv"} == set(page.files) - set(charts)


def test_links_lead_to_sections_and_tables_are_told_to_screen_readers(read: Reader) -> None:
    anchors = {a["id"] for a in read.all("section")}
    assert {str(a["href"])[1:] for a in read.all("a")} == anchors
    assert len(read.all("caption")) == len(read.all("table"))
    assert all(a.get("scope") in ("row", "col") for a in read.all("th"))
    assert all(a.get("alt") for a in read.all("img"))


def test_the_title_may_be_chosen(study: Study) -> None:
    bare = replace(study, examples=(), predictions=None, harmonization=None, table=None)
    assert "<h1>Lungs &lt; livers</h1>" in Report(title="Lungs < livers")(bare).html
    assert "<h1>phantoms &amp; friends</h1>" in Report()(bare).html


def test_alignment_says_what_was_moved_and_what_was_not_and_why(read: Reader) -> None:
    assert "1 of 2 registrations were taken" in read.text
    assert read.text.index("s02 PET moved") < read.text.index("s01 PET headers kept")
    assert "registering back ends 9.1 mm off" in read.text
    assert (
        "s01 10.0 9.0 \N{MINUS SIGN}10.0 % the region measured in CT, PET touches the border of the grid" in read.text
    )


def test_the_features_are_counted(read: Reader) -> None:
    assert "CT 4 1 1 0 0 % 4" in read.text  # four features of one type, one value missing, none constant
    assert "PET 4 1 0 1 0 %" in read.text  # one is constant


def test_harmonisation_is_shown_before_and_after(read: Reader) -> None:
    assert "42 % → 3 %" in read.text
    assert "0.91 → 0.48 (0.50)" in read.text


def test_the_methods_state_what_the_config_states_and_no_more(read: Reader) -> None:
    assert "onto one grid with voxels of 2 mm, led by CT [1]." in read.text
    assert "harmonised by combat [5] [6] [7], protecting age" in read.text
    assert "4 folds repeated 2 times (seed 3)" in read.text
    assert "xgboost" not in read.text
    assert "author to complete" in read.text


def test_an_empty_study_says_what_is_absent_and_what_to_run() -> None:
    empty = Study(name="empty", config={}, roster=pd.DataFrame(), failures=NO_FAILURES)
    page = Report()(empty)
    said = Reader(page.html).text
    for words in (
        "Nothing has been trained yet",
        "The roster is empty",
        "No subject has been aligned",
        "No fused volume is at hand",
        "No feature has been extracted",
        "No batch effect has been looked at",
        "there is no ROC curve",
        "No subject failed in any stage",
        "The environment was not recorded",
    ):
        assert words in said
    assert page.files == {}


def test_arms_without_the_declared_comparison_are_no_answer(study: Study) -> None:
    html = Report(resamples=5, examples=0)(replace(study, contrast=None, predictions=None)).html
    assert "The comparison declared in <code>train.primary</code> was not run" in html  # backticks are for terminals


def test_images_are_made_for_the_examples_asked_for(study: Study) -> None:
    html = Report(examples=0)(replace(study, predictions=None, auc=None, harmonization=None, table=None)).html
    assert "<img" not in html
