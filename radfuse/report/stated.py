"""What a run itself states, by topic, in the words of a checklist; what it does not say is absent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radfuse.data.study import Study
from radfuse.report.methods import has_batches, joined, method_of

LEVELS = {"early", "intermediate", "late"}


def stated(study: Study) -> dict[str, str]:
    """Give a sentence for each topic that the run can speak of; nothing is guessed."""
    config = study.config
    parts = {name: config.get(name) or {} for name in ("align", "extract", "harmonize", "train")}
    found = {
        **_people(study),
        **_images(parts["align"], parts["extract"]),
        **_table(study, parts["harmonize"], parts["train"]),
        **_models(parts["train"]),
        **_testing(study, parts["train"]),
        **_sharing(study),
    }
    return {topic: text for topic, text in found.items() if text}


def _people(study: Study) -> dict[str, str]:
    roster, failures = study.roster, study.failures
    if roster.empty:
        return {}
    found = {"baseline": "outcome, batches and covariates by group: section Cohort; demographics are the author's"}
    if len(failures):
        found["exclusions"] = (
            f"{failures['subject'].nunique()} of {len(roster)} subjects could not be used in full: failures.csv"
        )
    else:
        found["exclusions"] = f"none of {len(roster)} subjects failed; the criteria are the author's"
    return found


def _images(align: Mapping[str, Any], extract: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    if align:
        found["preprocessing"] = (
            f"registration ({method_of(align.get('registration'))}), one grid (spacing_mm {align.get('spacing_mm')}), "
            "intensity scale by modality: config, align"
        )
        found["resampling"] = f"once, to spacing_mm {align.get('spacing_mm')}: config, align"
        found["segmentation"] = (
            "one outline, the reference's, is measured in every modality"
            if align.get("mask") == "reference"
            else "each modality in its own outline"
        )
    parameters = extract.get("parameters")
    if parameters:
        found["parameters"] = "PyRadiomics parameters by modality: config, extract.parameters"
        found["discretisation"] = "binWidth or binCount by modality: config, extract.parameters"
        found["image types"] = "imageType by modality: config, extract.parameters"
        found["feature classes"] = "featureClass by modality: config, extract.parameters; each column in dictionary.csv"
        found["defaults"] = "what the parameters do not name is PyRadiomics' default"
    return found


def _table(study: Study, harmonize: Mapping[str, Any], train: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    if study.table is not None:
        rows, columns = study.table.values.shape
        selection = method_of(train.get("selection"))
        chosen = f"; {selection} selection in each fold" if selection else ""
        found["features"] = f"{columns} features, {rows} subjects{chosen}"
        events = int(study.table.outcome.sum())
        dealt = "" if "site" in (train.get("splits") or {}) else "; folds are stratified by outcome"
        found["imbalance"] = f"{events} events among {rows} subjects{dealt}"
    harmonizer = method_of(harmonize.get("harmonizer"))
    if harmonizer and harmonizer != "none" and has_batches(study):
        found["confounders"] = (
            f"batches harmonised by {harmonizer} in each fold; the batch alone is a baseline, and AUCs within batches "
            "are in the table of arms"
        )
    if train:
        found["missing"] = "median imputation, fitted in each fold"
        found["scaling"] = "centred and scaled by the training rows of each fold"
        reduction = method_of(train.get("selection"))
        if reduction:
            found["reduction"] = f"{reduction} selection, in each fold"
            found["redundant"] = f"by the selection ({reduction}), in each fold"
    stability = train.get("stability") or {}
    if "icc" in stability:
        found["reliability"] = (
            f"features with ICC({stability.get('kind', '2,1')}) below {stability['icc']:g} over perturbed images and "
            "outlines were left out, learned from the training subjects of each fold"
        )
    return found


def _models(train: Mapping[str, Any]) -> dict[str, str]:
    if not train:
        return {}
    classifiers = joined([method_of(member) for member in train.get("classifiers") or ()])
    levels = joined([method_of(member) for member in train.get("fusions") or ()])
    return {
        "algorithms": f"{classifiers}; {levels} fusion; their settings are in the config, train",
        "tuning": "settings as in the config; whatever is tuned is tuned within the training rows",
        "choice": "no model was chosen by its AUC: the comparison was declared in train.primary before the run",
    }


def _testing(study: Study, train: Mapping[str, Any]) -> dict[str, str]:
    splits, found = train.get("splits") or {}, {}
    if "site" in splits:
        found["split"] = found["internal"] = "each site validated by models that never saw it; see splits.csv"
    elif "folds" in splits and "repeats" in splits:
        found["split"] = f"{splits['folds']}-fold cross-validation by subject, {splits['repeats']} repeats; splits.csv"
        found["internal"] = "cross-validation only"
    if "internal" in found:
        found["testing"] = f"internal: {found['internal']}"
    if study.auc is None or not len(study.auc):
        return found
    found["metrics"] = "AUC of pairs within a fold: models of different folds are never compared with each other"
    found["performance"] = "sections The answer, ROC curves and All arms; auc.csv"
    if "bootstrap" in train:
        found["uncertainty"] = f"intervals from {train['bootstrap']} resamples of the patients"
    levels = set(study.auc["fusion"])
    if "single" in levels and levels & LEVELS:
        found["single"] = "each modality alone in the same folds: section All arms"
    baselines = sorted(str(name) for name in study.auc.loc[study.auc["fusion"] == "baseline", "arm"])
    if baselines:
        found["non-radiomic"] = f"in the same folds: {joined(baselines)}"
    if study.contrast:
        found["comparison"] = "the declared comparison, paired by patient: section The answer"
        if study.contrast.get("power"):
            found["sample size"] = "what so many patients can show, after the fact: section The answer"
    if "external" in study.tables:
        found["testing"] = f"{found['testing']}; external: section External test" if "testing" in found else "external"
    tables = {
        "calibration": ("calibration", "intercept, slope and Brier score: section Calibration"),
        "decision": ("utility", "net benefit over thresholds: section Calibration"),
        "selection_stability": (
            "feature statistics",
            "how often features were chosen, and how steadily: section Which features were chosen",
        ),
        "importance": ("explained", "permutation importance, with its stability over folds"),
        "external": ("external", "models applied unchanged to an external cohort: section External test"),
    }
    return found | {topic: text for name, (topic, text) in tables.items() if name in study.tables}


def _sharing(study: Study) -> dict[str, str]:
    found = {
        "settings": "run.yaml holds every setting",
        "code": "radfuse is open source; its version and the libraries' are in environment.json",
    }
    versions = [f"{name} {version}" for name, version in study.environment.items() if name not in ("cores", "system")]
    if versions:
        found["software"] = ", ".join(versions)
    if study.table is not None:
        found["feature data"] = "features.csv can be shared as it is, where the data's terms allow"
    if study.auc is not None and len(study.auc):
        found["models"] = "train/<arm>/model.skops; `radfuse export` makes one folder that loads elsewhere"
    return found
