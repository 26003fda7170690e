"""Study: everything that a finished run found, as the report reads it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from radfuse.data.predictions import Predictions
from radfuse.data.subject import Subject
from radfuse.data.table import FeatureTable


@dataclass(frozen=True, eq=False)
class Study:
    """What report reads. A part that did not run is absent, and the page says so.

    Parameters
    ----------
    name : the study's name.
    config : the resolved settings.
    roster : one row per subject of the manifest (index ``subject``): outcome, batches, covariates, and ``status``.
    failures : columns subject, stage, what, hint.
    findings : by stage, then by subject: what align, fuse and extract found.
    examples : a few subjects with their aligned and fused volumes, to be looked at; the most doubtful alignment first.
    table : the features.
    harmonization : diagnostics before and after, as `radfuse.harmonize` gives them.
    predictions : out-of-fold scores of every arm.
    auc : one row per arm: arm, fusion, modalities, classifier, auc, ci_low, ci_high, n, events, and more.
    tables : what else the scores say, by name, as `Train.tables` gives it; such as ``withheld``.
    contrast : the primary comparison, declared before the run.
    seconds : wall time by stage.
    environment : versions and machine.
    """

    name: str
    config: Mapping[str, Any]
    roster: pd.DataFrame
    failures: pd.DataFrame
    findings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    examples: Sequence[Subject] = ()
    table: FeatureTable | None = None
    harmonization: Mapping[str, Any] | None = None
    predictions: Predictions | None = None
    auc: pd.DataFrame | None = None
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    contrast: Mapping[str, Any] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
