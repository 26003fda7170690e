"""Small feature tables with a known truth, and a harmoniser simple enough to check by eye."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin

from radfuse.data.names import modality_of
from radfuse.data.table import FeatureTable, feature_columns

MakeTable = Callable[..., FeatureTable]


class CentreByBatch(TransformerMixin, BaseEstimator):
    """Subtract each batch's training mean; an unseen batch gets the mean of all training rows."""

    def fit(self, rows: pd.DataFrame, outcome: Any = None) -> Self:
        self.columns_ = feature_columns(rows)
        self.mean_ = rows[self.columns_].mean().to_numpy()
        self.means_: dict[str, dict[str, np.ndarray]] = {}
        for modality in dict.fromkeys(modality_of(c) for c in self.columns_):
            columns = [c for c in self.columns_ if modality_of(c) == modality]
            by_batch = rows.groupby(f"@batch.{modality}")[columns].mean()
            self.means_[modality] = {str(batch): by_batch.loc[batch].to_numpy() for batch in by_batch.index}
        return self

    def transform(self, rows: pd.DataFrame) -> pd.DataFrame:
        changed = rows.copy()
        overall = dict(zip(self.columns_, self.mean_, strict=True))
        for modality, means in self.means_.items():
            columns = [c for c in self.columns_ if modality_of(c) == modality]
            default = np.array([overall[c] for c in columns])
            shift = np.array([means.get(batch, default) for batch in rows[f"@batch.{modality}"]])
            changed[columns] = rows[columns].to_numpy() - shift
        return changed


@pytest.fixture
def harmonizer() -> CentreByBatch:
    return CentreByBatch()


@pytest.fixture
def make_table() -> MakeTable:
    """Tables whose outcome is the sum of one hidden number per modality, of which some features are noisy copies."""

    def make(
        subjects: int = 60,
        features: int = 20,
        modalities: tuple[str, ...] = ("CT", "PET"),
        seed: int = 0,
        signal: float = 1.0,
        fused: bool = False,
    ) -> FeatureTable:
        rng = np.random.default_rng(seed)
        hidden = rng.normal(size=(subjects, len(modalities)))
        outcome = np.zeros(subjects, int)
        outcome[np.argsort(hidden.sum(axis=1))[subjects - subjects * 2 // 5 :]] = 1
        names = [*modalities, *(["fused-average-" + "_".join(modalities)] if fused else [])]
        blocks = []
        for position, modality in enumerate(names):
            values = rng.normal(size=(subjects, features))
            source = hidden[:, position] if position < len(modalities) else hidden.mean(axis=1)
            values[:, 2:6] = 0.5 * values[:, 2:6] + signal * source[:, None]
            columns = [f"{modality}.original_firstorder_F{i}" for i in range(features)]
            columns[0] = f"{modality}.original_shape_MeshVolume"
            columns[1] = f"{modality}.original_firstorder_Maximum"
            values[:, 0] = np.exp(values[:, 0])
            blocks.append(pd.DataFrame(values, columns=columns))
        index = pd.Index([f"S{i:03d}" for i in range(subjects)], name="subject")
        facts = pd.DataFrame({"outcome": outcome}, index=index)
        for modality in modalities:
            facts[f"batch.{modality}"] = rng.choice(["north", "south"], subjects)
        facts["age"] = rng.normal(60, 8, subjects).round()
        facts["sex"] = rng.choice(["F", "M"], subjects)
        return FeatureTable(pd.concat(blocks, axis=1).set_index(index), facts)

    return make


@pytest.fixture
def make_rows() -> Callable[[int, int], tuple[pd.DataFrame, pd.Series]]:
    """Scaled rows as a strategy sees them: a signal in CT.f1 and another in PET.f1; MR is noise."""

    def make(subjects: int, seed: int) -> tuple[pd.DataFrame, pd.Series]:
        rng = np.random.default_rng(seed)
        modalities = ("CT", "PET", "MR")
        rows = pd.DataFrame({f"{m}.f{i}": rng.normal(size=subjects) for m in modalities for i in range(8)})
        outcome = (rows["CT.f1"] + rows["PET.f1"] > 0).astype(int)
        return rows.assign(**{f"@missing.{m}": 0.0 for m in modalities}), outcome

    return make
