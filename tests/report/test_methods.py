"""The methods paragraph says what the settings say, and nothing else."""

from typing import Any

import pandas as pd
import pytest

from radfuse.config import Config
from radfuse.data.study import Study
from radfuse.data.table import FeatureTable
from radfuse.report.methods import methods

COHORT = {"cohort": {"manifest": "m.csv", "outcome": "y", "modalities": ["CT", "PET"]}}


def paragraph(**settings: Any) -> str:
    config = Config.model_validate({**COHORT, **settings}).model_dump(mode="json")
    values = pd.DataFrame({"CT.a": [1.0, 2.0], "PET.a": [3.0, 4.0]}, index=pd.Index(["A", "B"], name="subject"))
    facts = pd.DataFrame({"outcome": [0, 1]}, index=values.index)
    nobody = pd.DataFrame(columns=["subject", "stage", "what", "hint"])
    return methods(Study("s", config, facts, nobody, table=FeatureTable(values, facts)))


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
