"""What a network is taught beside the outcome, as numbers."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from radfuse.data.table import CONTEXT
from radfuse.errors import DataError
from radfuse.train.steps.facts import Facts


def auxiliary_targets(rows: pd.DataFrame, columns: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Give standardised targets (rows x targets) and the weight of each of their squared errors.

    A number is one target; text is one per level, each 0 or 1 before it is standardised. Where a row's fact is not
    known, its weight is 0. The weights of a row that knows all facts add up to 1, every fact counting alike.

    Parameters
    ----------
    rows : training rows, in which ``columns`` are context.
    columns : subject columns, without the ``@``.
    """
    values, weights = [np.empty((len(rows), 0))], [np.empty((len(rows), 0))]
    for name in columns:
        column = f"{CONTEXT}{name}"
        if column not in rows.columns:
            raise DataError(
                f"the auxiliary target {name!r} is not among the facts of the training rows",
                hint="Name a covariate of the feature table in fusions: {method: intermediate, auxiliary: ...}.",
            )
        known = rows[column].notna().to_numpy()
        if not known.any():
            continue
        encoded = Facts().fit_transform(rows.loc[known, [column]])
        value = np.zeros((len(rows), encoded.shape[1]))
        value[known] = encoded
        values.append(value)
        weights.append(np.where(known[:, None], 1 / (len(columns) * encoded.shape[1]), 0.0).repeat(value.shape[1], 1))
    return np.hstack(values), np.hstack(weights)
