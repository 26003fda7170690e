"""Scaled rows of a made-up cohort, as fusion strategies see them."""

import numpy as np
import pandas as pd
import pytest

Rows = tuple[pd.DataFrame, pd.Series]


def cohort(subjects: int, seed: int) -> Rows:
    """Scaled rows with a signal in CT and another in PET; MR is noise."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(subjects, 2))
    rows = pd.DataFrame(
        {f"{m}.f{i}": rng.normal(size=subjects) for m in ("CT", "PET", "MR") for i in range(8)}
        | {f"@missing.{m}": np.zeros(subjects) for m in ("CT", "PET", "MR")}
    )
    rows["CT.f1"], rows["PET.f1"] = hidden[:, 0], hidden[:, 1]
    return rows, pd.Series((hidden.sum(axis=1) > 0).astype(int))


@pytest.fixture(scope="session")
def make_rows():
    """Make a cohort of so many subjects from a seed."""
    return cohort


@pytest.fixture(scope="session")
def seen() -> Rows:
    return cohort(120, 1)


@pytest.fixture(scope="session")
def new() -> Rows:
    return cohort(300, 2)
