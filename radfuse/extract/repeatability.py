"""How well a feature agrees with itself when the same subjects are measured again."""

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


def icc_agreement(values: Values) -> Values:
    """Intraclass correlation of absolute agreement, single measurement: ICC(2,1) [Shrout & Fleiss 1979, case 2].

    ``(BMS - EMS) / (BMS + (k - 1) EMS + k (JMS - EMS) / n)`` with the mean squares between subjects, between
    measurements, and of the residual.

    Parameters
    ----------
    values : (n subjects, k measurements, features). A subject with a value that is not finite is left out of that
        feature.

    Returns
    -------
    One coefficient per feature; 1 where all measurements agree exactly and subjects differ, NaN where fewer than two
    subjects are left or nothing varies at all.

    Examples
    --------
    >>> judges = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    >>> round(float(icc_agreement(np.array(judges, float)[:, :, None])[0]), 2)
    0.29
    """
    kept = np.isfinite(values).all(axis=1, keepdims=True)
    n, k = kept.sum(axis=(0, 1)).astype(float), values.shape[1]
    filled = np.where(kept, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = filled.sum(axis=(0, 1)) / (n * k)
        filled = np.where(kept, filled - centre, 0.0)  # squares of large offsets would swallow the differences
        subjects, measurements = filled.mean(axis=1), filled.sum(axis=0) / n
        between = k * (subjects**2).sum(axis=0) / (n - 1)
        judges = n * (measurements**2).sum(axis=0) / (k - 1)
        residual = np.where(kept, filled - subjects[:, None, :] - measurements[None, :, :], 0.0)
        error = (residual**2).sum(axis=(0, 1)) / ((n - 1) * (k - 1))
        found = (between - error) / (between + (k - 1) * error + k * (judges - error) / n)
    return np.where(n >= 2, found, np.nan)
