"""Items of METRICS that the run itself can answer; the rest is the author's.

METRICS: Kocak 2024, Insights into Imaging 15:8, doi:10.1186/s13244-023-01572-w. Titles are shortened.
"""

from __future__ import annotations

from radfuse.data.study import Study
from radfuse.report.methods import joined, method_of
from radfuse.report.section import Fold, Table, Words

AUTHOR = "author to complete"


def checklist(study: Study) -> Fold:
    """Fill in what is known; nothing is guessed and no score is given."""
    answers = _answers(study)
    rows = [(str(item), title, answers.get(item) or AUTHOR) for item, title in TITLES.items()]
    note = Words(
        "Excerpt of METRICS (doi:10.1186/s13244-023-01572-w), titles shortened; check against the sheet. An item is "
        "filled in only where the settings or results of this run state it. No score is given."
    )
    columns = ("item", "title", "what this run states")
    return Fold("Checklist, as far as the run can fill it in", blocks=[note, Table("METRICS items", columns, rows)])


TITLES = {
    4: "Multi-centre data",
    6: "Imaging protocol",
    11: "Image preprocessing",
    12: "Software",
    13: "Extraction parameters",
    14: "Removal of non-robust features",
    15: "Removal of redundant features",
    16: "Number of features against the data",
    18: "Partition of the data",
    19: "Confounders",
    20: "Evaluation metrics",
    21: "Uncertainty",
    22: "Calibration",
    23: "Comparison with single modalities",
    24: "Comparison with non-radiomic models",
    26: "Internal testing",
    27: "External testing",
    29: "Code",
    30: "Model",
}


def _answers(study: Study) -> dict[int, str]:
    config, found = study.config, {}
    train = config.get("train") or {}
    splits = train.get("splits") or {}
    align = config.get("align") or {}
    if align:
        found[11] = f"grid, registration and intensity scale: config, align (spacing_mm {align.get('spacing_mm')})"
    if study.environment:
        found[12] = ", ".join(f"{k} {v}" for k, v in study.environment.items() if k not in ("cores", "system"))
    if (config.get("extract") or {}).get("parameters"):
        found[13] = "PyRadiomics parameters by modality: config, extract.parameters"
    if study.table is not None:
        rows, columns = study.table.values.shape
        selection = method_of(train.get("selection"))
        chosen = f"; {selection} selection in each fold" if selection else ""
        found[16] = f"{columns} features, {rows} subjects{chosen}"
    if "folds" in splits and "repeats" in splits:
        found[18] = f"{splits['folds']}-fold cross-validation by subject, {splits['repeats']} repeats; see splits.csv"
        found[26] = "cross-validation only"
    if study.auc is not None and len(study.auc):
        found[20] = "AUC of pairs within a fold"
        if "bootstrap" in train:
            found[21] = f"intervals from {train['bootstrap']} resamples of the patients"
        levels = set(study.auc["fusion"])
        if "single" in levels and levels & {"early", "intermediate", "late"}:
            found[23] = "each modality alone in the same folds: section All arms"
        baselines = sorted(study.auc.loc[study.auc["fusion"] == "baseline", "arm"])
        if baselines:
            found[24] = f"in the same folds: {joined([str(name) for name in baselines])}"
    return found
