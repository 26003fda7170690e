"""METRICS and CLEAR, filled in as far as the run can: the rest is the author's.

METRICS: Kocak 2024, Insights into Imaging 15:8, doi:10.1186/s13244-023-01572-w, table 1. CLEAR: Kocak 2023, Insights
into Imaging 14:75, doi:10.1186/s13244-023-01415-8, table 1, worded as in its online form. The titles are the authors'
words, CC BY 4.0.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from radfuse.report.section import Fold, Table, Words

AUTHOR = "author to complete"

METRICS = {
    1: ("Adherence to radiomics and/or machine learning-specific checklists or guidelines", ""),
    2: ("Eligibility criteria that describe a representative study population", ""),
    3: ("High-quality reference standard with a clear definition", ""),
    4: ("Multi-center", ""),
    5: ("Clinical translatability of the imaging data source for radiomics analysis", ""),
    6: ("Imaging protocol with acquisition parameters", ""),
    7: ("The interval between imaging used and reference standard", ""),
    8: ("Transparent description of segmentation methodology", ""),
    9: ("Formal evaluation of fully automated segmentation", ""),
    10: ("Test set segmentation masks produced by a single reader or automated tool", ""),
    11: ("Appropriate use of image preprocessing techniques with transparent description", "preprocessing"),
    12: ("Use of standardized feature extraction software", "software"),
    13: (
        "Transparent reporting of feature extraction parameters, otherwise providing a default configuration statement",
        "parameters",
    ),
    14: ("Removal of non-robust features", "reliability"),
    15: ("Removal of redundant features", "redundant"),
    16: ("Appropriateness of dimensionality compared to data size", "features"),
    17: ("Robustness assessment of end-to-end deep learning pipelines", ""),
    18: ("Proper data partitioning process", "split"),
    19: ("Handling of confounding factors", "confounders"),
    20: ("Use of appropriate performance evaluation metrics for task", "metrics"),
    21: ("Consideration of uncertainty", "uncertainty"),
    22: ("Calibration assessment", "calibration"),
    23: ("Use of uni-parametric imaging or proof of its inferiority", "single"),
    24: ("Comparison with a non-radiomic approach or proof of added clinical value", "non-radiomic"),
    25: ("Comparison with simple or classical statistical models", "non-radiomic"),
    26: ("Internal testing", "internal"),
    27: ("External testing", "external"),
    28: ("Data availability", ""),
    29: ("Code availability", "code"),
    30: ("Model availability", "models"),
}
"""Number: title, and the topic of `radfuse.report.stated` that answers it; none where only the author can."""

CLEAR = {
    1: ("Relevant title, specifying the radiomic methodology", ""),
    2: ("Structured summary with relevant information", ""),
    3: ("Relevant keywords for radiomics", ""),
    4: ("Scientific or clinical background", ""),
    5: ("Rationale for using a radiomic approach", ""),
    6: ("Study objective(s)", ""),
    7: ("Adherence to guidelines or checklists (e.g., CLEAR checklist)", ""),
    8: ("Ethical details (e.g., approval, consent, data protection)", ""),
    9: ("Sample size calculation", "sample size"),
    10: ("Study nature (e.g., retrospective, prospective)", ""),
    11: ("Eligibility criteria", ""),
    12: ("Flowchart for technical pipeline", ""),
    13: ("Data source (e.g., private, public)", ""),
    14: ("Data overlap", ""),
    15: ("Data split methodology", "split"),
    16: ("Imaging protocol (i.e., image acquisition and processing)", ""),
    17: ("Definition of non-radiomic predictor variables", "non-radiomic"),
    18: ("Definition of the reference standard (i.e., outcome variable)", ""),
    19: ("Segmentation strategy", "segmentation"),
    20: ("Details of operators performing segmentation", ""),
    21: ("Image pre-processing details", "preprocessing"),
    22: ("Resampling method and its parameters", "resampling"),
    23: ("Discretization method and its parameters", "discretisation"),
    24: ("Image types (e.g., original, filtered, transformed)", "image types"),
    25: ("Feature extraction method", "software"),
    26: ("Feature classes", "feature classes"),
    27: ("Number of features", "features"),
    28: ("Default configuration statement for remaining parameters", "defaults"),
    29: ("Handling of missing data", "missing"),
    30: ("Details of class imbalance", "imbalance"),
    31: ("Details of segmentation reliability analysis", "reliability"),
    32: ("Feature scaling details (e.g., normalization, standardization)", "scaling"),
    33: ("Dimension reduction details", "reduction"),
    34: ("Algorithm details", "algorithms"),
    35: ("Training and tuning details", "tuning"),
    36: ("Handling of confounders", "confounders"),
    37: ("Model selection strategy", "choice"),
    38: ("Testing technique (e.g., internal, external)", "testing"),
    39: ("Performance metrics and rationale for choosing", "metrics"),
    40: ("Uncertainty evaluation and measures (e.g., confidence intervals)", "uncertainty"),
    41: ("Statistical performance comparison (e.g., DeLong's test)", "comparison"),
    42: ("Comparison with non-radiomic and combined methods", "non-radiomic"),
    43: ("Interpretability and explainability methods", "explained"),
    44: ("Baseline demographic and clinical characteristics", "baseline"),
    45: ("Flowchart for eligibility criteria", "exclusions"),
    46: ("Feature statistics (e.g., reproducibility, feature selection)", "feature statistics"),
    47: ("Model performance evaluation", "performance"),
    48: ("Comparison with non-radiomic and combined approaches", "non-radiomic"),
    49: ("Overview of important findings", ""),
    50: ("Previous works with differences from the current study", ""),
    51: ("Practical implications", ""),
    52: ("Strengths and limitations (e.g., bias and generalizability issues)", ""),
    53: ("Sharing images along with segmentation data", ""),
    54: ("Sharing radiomic feature data", "feature data"),
    55: ("Sharing pre-processing scripts or settings", "settings"),
    56: ("Sharing source code for modeling", "code"),
    57: ("Sharing final model files", "models"),
    58: ("Sharing a ready-to-use system", ""),
}
LISTS = {"METRICS": (METRICS, "doi:10.1186/s13244-023-01572-w"), "CLEAR": (CLEAR, "doi:10.1186/s13244-023-01415-8")}


def checklists(known: Mapping[str, str]) -> list[Fold]:
    """Fill in what the run states, by topic; nothing is guessed and no score is given."""
    return [_fold(name, _rows(items, known), source) for name, (items, source) in LISTS.items()]


def checklist_files(known: Mapping[str, str]) -> dict[str, bytes]:
    """Give the same lists as CSV files, by name, for the author to complete."""
    return {f"{name.lower()}.csv": _csv(_rows(items, known)) for name, (items, _) in LISTS.items()}


def _rows(items: Mapping[int, tuple[str, str]], known: Mapping[str, str]) -> list[tuple[str, ...]]:
    return [(str(item), title, known.get(topic) or AUTHOR) for item, (title, topic) in items.items()]


def _fold(name: str, rows: list[tuple[str, ...]], source: str) -> Fold:
    filled = sum(row[2] != AUTHOR for row in rows)
    note = Words(
        f"{name} ({source}, CC BY 4.0). {filled} of {len(rows)} items are filled in: "
        "those that the settings or results of this run state. No score is given."
    )
    table = Table(f"{name} items", ("item", "title", "what this run states"), rows)
    return Fold(f"{name} checklist, as far as the run can fill it in", blocks=[note, table])


def _csv(rows: list[tuple[str, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("item", "title", "stated"), *rows])
    return text.getvalue().encode("utf-8")
