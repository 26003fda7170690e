"""METRICS and CLEAR, filled in as far as the run can: the rest is the author's.

METRICS: Kocak 2024, Insights into Imaging 15:8, doi:10.1186/s13244-023-01572-w. CLEAR: Kocak 2023, Insights into
Imaging 14:75, doi:10.1186/s13244-023-01415-8. Titles are shortened.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from radfuse.data.study import Study
from radfuse.report.section import Fold, Table, Words
from radfuse.report.stated import stated

AUTHOR = "author to complete"

METRICS = {
    1: ("Adherence to checklists", ""),
    2: ("Eligibility criteria", ""),
    3: ("Reference standard", ""),
    4: ("Multi-centre data", ""),
    5: ("Clinical translatability of the imaging", ""),
    6: ("Imaging protocol", ""),
    7: ("Interval between imaging and reference standard", ""),
    8: ("Segmentation method", ""),
    9: ("Evaluation of automated segmentation", ""),
    10: ("Test masks by one reader or tool", ""),
    11: ("Image preprocessing", "preprocessing"),
    12: ("Standardised extraction software", "software"),
    13: ("Extraction parameters", "parameters"),
    14: ("Removal of non-robust features", "reliability"),
    15: ("Removal of redundant features", "redundant"),
    16: ("Number of features against the data", "features"),
    17: ("Robustness of end-to-end deep learning", ""),
    18: ("Partition of the data", "split"),
    19: ("Confounders", "confounders"),
    20: ("Evaluation metrics", "metrics"),
    21: ("Uncertainty", "uncertainty"),
    22: ("Calibration", "calibration"),
    23: ("Comparison with single modalities", "single"),
    24: ("Comparison with non-radiomic models", "non-radiomic"),
    25: ("Comparison with classical statistical models", "non-radiomic"),
    26: ("Internal testing", "internal"),
    27: ("External testing", "external"),
    28: ("Data shared", ""),
    29: ("Code shared", "code"),
    30: ("Model shared", "models"),
}
"""Number: title, and the topic of `radfuse.report.stated` that answers it; none where only the author can."""

CLEAR = {
    1: ("Title", ""),
    2: ("Structured summary", ""),
    3: ("Keywords", ""),
    4: ("Background", ""),
    5: ("Rationale for radiomics", ""),
    6: ("Objectives", ""),
    7: ("Adherence to checklists", ""),
    8: ("Ethics", ""),
    9: ("Sample size", ""),
    10: ("Nature of the study", ""),
    11: ("Eligibility criteria", ""),
    12: ("Flowchart of the pipeline", ""),
    13: ("Data source", ""),
    14: ("Data overlap", ""),
    15: ("Split of the data", "split"),
    16: ("Imaging protocol", ""),
    17: ("Non-radiomic predictors", "non-radiomic"),
    18: ("Reference standard", ""),
    19: ("Segmentation strategy", "segmentation"),
    20: ("Operators of the segmentation", ""),
    21: ("Image preprocessing", "preprocessing"),
    22: ("Resampling", "resampling"),
    23: ("Discretisation", "discretisation"),
    24: ("Image types", "image types"),
    25: ("Extraction method", "software"),
    26: ("Feature classes", "feature classes"),
    27: ("Number of features", "features"),
    28: ("Default configuration", "defaults"),
    29: ("Missing data", "missing"),
    30: ("Class imbalance", "imbalance"),
    31: ("Reliability of the segmentation", "reliability"),
    32: ("Feature scaling", "scaling"),
    33: ("Dimension reduction", "reduction"),
    34: ("Algorithms", "algorithms"),
    35: ("Training and tuning", "tuning"),
    36: ("Confounders", "confounders"),
    37: ("Choice of the model", "choice"),
    38: ("Testing", "split"),
    39: ("Performance metrics", "metrics"),
    40: ("Uncertainty", "uncertainty"),
    41: ("Statistical comparison", "comparison"),
    42: ("Comparison with non-radiomic models (methods)", "non-radiomic"),
    43: ("Interpretability", "explained"),
    44: ("Baseline characteristics", "baseline"),
    45: ("Flowchart of eligibility", "exclusions"),
    46: ("Feature statistics", ""),
    47: ("Model performance", "performance"),
    48: ("Comparison with non-radiomic models (results)", "non-radiomic"),
    49: ("Important findings", ""),
    50: ("Previous work", ""),
    51: ("Practical implications", ""),
    52: ("Strengths and limitations", ""),
    53: ("Sharing images and segmentations", ""),
    54: ("Sharing feature data", "feature data"),
    55: ("Sharing preprocessing settings", "settings"),
    56: ("Sharing code", "code"),
    57: ("Sharing model files", "models"),
    58: ("Sharing a ready-to-use system", ""),
}
LISTS = {"METRICS": (METRICS, "doi:10.1186/s13244-023-01572-w"), "CLEAR": (CLEAR, "doi:10.1186/s13244-023-01415-8")}


def checklists(study: Study) -> list[Fold]:
    """Fill in what is known; nothing is guessed and no score is given."""
    known = stated(study)
    return [_fold(name, _rows(items, known), source) for name, (items, source) in LISTS.items()]


def checklist_files(study: Study) -> dict[str, bytes]:
    """Give the same lists as CSV files, by name, for the author to complete."""
    known = stated(study)
    return {f"{name.lower()}.csv": _csv(_rows(items, known)) for name, (items, _) in LISTS.items()}


def _rows(items: Mapping[int, tuple[str, str]], known: Mapping[str, str]) -> list[tuple[str, ...]]:
    return [(str(item), title, known.get(topic) or AUTHOR) for item, (title, topic) in items.items()]


def _fold(name: str, rows: list[tuple[str, ...]], source: str) -> Fold:
    filled = sum(row[2] != AUTHOR for row in rows)
    note = Words(
        f"{name} ({source}), titles shortened; check against the sheet. {filled} of {len(rows)} items are filled in: "
        "those that the settings or results of this run state. No score is given."
    )
    table = Table(f"{name} items", ("item", "title", "what this run states"), rows)
    return Fold(f"{name} checklist, as far as the run can fill it in", blocks=[note, table])


def _csv(rows: list[tuple[str, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("item", "title", "stated"), *rows])
    return text.getvalue().encode("utf-8")
