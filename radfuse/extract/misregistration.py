"""What a misregistration does to features: how far it goes, and how far each feature goes with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from radfuse.data.names import FeatureName
from radfuse.data.repeatability import PERTURBATION, UNPERTURBED, stacked

OTHERWISE_MM = 2.0
"""Distance between where a scan lies and where it should, headers trusted: 1 mm along each axis, to the millimetre."""

COLUMNS = ["feature", "modality", "subjects", "error_mm", "moved_sd", "moved_sd_per_mm"]


def error_of(registered: Mapping[str, Any]) -> tuple[float, str]:
    """Give how far a scan may lie beside the reference, and where the number is from.

    Registering there and back leads astray by two errors that add up: one of them is the distance / sqrt(2).

    Parameters
    ----------
    registered : what align found about one scan's registration.

    Examples
    --------
    >>> error_of({"accepted": True, "inverse_consistency_mm": 8.0**0.5})
    (2.0, 'inverse consistency')
    >>> error_of({"accepted": False, "inverse_consistency_mm": 45.0})
    (2.0, 'assumed')
    """
    apart = registered.get("inverse_consistency_mm") if registered.get("accepted") else None
    return (OTHERWISE_MM, "assumed") if not apart else (float(apart) / 2.0**0.5, "inverse consistency")


def feature_movement(perturbed: pd.DataFrame, shifts_mm: pd.DataFrame) -> pd.DataFrame:
    """Rank features by how far they move for each millimetre of misregistration.

    Each subject was measured again and again with its scans shifted at random. A feature that follows a shift d as
    ``g . d`` scatters with the standard deviation ``|g| sigma``, where sigma is that of the shift along one axis; so
    the ratio of the two is the feature's change per mm in the direction that changes it most.

    Parameters
    ----------
    perturbed : features, indexed by subject and perturbation; number 0 is the measurement as it was.
    shifts_mm : the shifts that were drawn, the same index without number 0; columns (modality, axis).

    Returns
    -------
    One row per feature of a scan that was shifted at all, what moves most first: feature, modality, subjects (without
    a gap); error_mm (root mean square length of the shifts); moved_sd (scatter by the shifts over the standard
    deviation between subjects); moved_sd_per_mm (that change for each mm). Both are NaN where subjects do not differ.
    """
    values, subjects = stacked(perturbed, list(perturbed.columns))
    before = perturbed.xs(UNPERTURBED, level=PERTURBATION).loc[subjects]
    spreads = np.asarray(before.std(ddof=1), dtype=np.float64)
    modalities = [FeatureName.parse(feature).modality for feature in perturbed.columns]
    parts = []
    for modality in dict.fromkeys(modalities):
        own = np.flatnonzero([name == modality for name in modalities])
        if modality not in shifts_mm.columns.get_level_values(0) or not shifts_mm[modality].to_numpy().any():
            continue
        shifts = shifts_mm[modality].sort_index().to_numpy().reshape(len(subjects), values.shape[1], -1)
        kept = np.asarray(np.isfinite(values[:, :, own]).all(axis=1))
        scatter = _root_mean(np.where(kept, values[:, :, own].var(axis=1, ddof=1), 0.0), kept)
        sigma = _root_mean(np.where(kept, shifts.var(axis=1, ddof=1).mean(axis=1)[:, None], 0.0), kept)
        error = _root_mean(np.where(kept, (shifts**2).sum(axis=2).mean(axis=1)[:, None], 0.0), kept)
        spread = spreads[own]
        with np.errstate(invalid="ignore", divide="ignore"):
            moved = np.where(spread > 0, scatter / spread, np.nan)
            per_mm = moved / sigma
        names = perturbed.columns[own]
        parts.append(
            pd.DataFrame(dict(zip(COLUMNS, (names, modality, kept.sum(0), error, moved, per_mm), strict=True)))
        )
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)
    return table.sort_values(["moved_sd_per_mm", "feature"], ascending=[False, True], ignore_index=True)


def _root_mean(squares: npt.NDArray[np.float64], kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sqrt(squares.sum(axis=0) / kept.sum(axis=0)))
