"""FeatureRow: what extract gives for one subject."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class FeatureRow:
    """The features of one subject.

    Parameters
    ----------
    subject : its id.
    values : by column name (see `radfuse.data.names`); a feature that could not be computed is NaN.
    diagnostics : PyRadiomics' ``diagnostics_*`` under the same modality prefixes, as text.
    problems : by column, why a value is NaN.
    """

    subject: str
    values: Mapping[str, float]
    diagnostics: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
