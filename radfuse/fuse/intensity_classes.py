"""Classes of tissue by intensity: Otsu's thresholds or a mixture of Gaussians, in or out or by probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from radfuse.fuse import Array

Values = npt.NDArray[np.float64]

BINS = 256
# The mixture is fitted to so many quantiles of the volume: as good as all of its voxels, in no order.
QUANTILES = 20_000
# A class of one value has no spread; below this, in normalised units, nobody can tell.
LEAST_DEVIATION = 1e-3


@dataclass(frozen=True, eq=False)
class Classes:
    """How the values of one volume fall into classes, the darkest first.

    Parameters
    ----------
    values : the volume.
    labels : class of each voxel.
    weights, means, deviations : share, mean and standard deviation of each class.
    """

    values: Array
    labels: npt.NDArray[np.intp]
    weights: Values
    means: Values
    deviations: Values

    def hard(self, which: int) -> Array:
        """1 in the class, 0 elsewhere."""
        inside: Array = (self.labels == which).astype(np.float32)
        return inside

    def soft(self, which: int) -> Array:
        """Probability of the class by Bayes' rule, its values taken as normally distributed."""
        if which >= len(self.means):
            return np.zeros_like(self.values)
        chance = np.stack([self._log_density(k) for k in range(len(self.means))])
        chance = np.exp(chance - chance.max(axis=0))
        soft: Array = (chance[which] / chance.sum(axis=0)).astype(np.float32)
        return soft

    def _log_density(self, k: int) -> Values:
        away = (self.values.astype(np.float64) - self.means[k]) / self.deviations[k]
        density: Values = np.log(self.weights[k] / self.deviations[k]) - 0.5 * away**2
        return density


def classify(values: Array, classes: int, segmentation: Literal["otsu", "mixture"]) -> Classes:
    """Split a volume's values into classes.

    A volume of no more different values than classes has a class for each value.

    Parameters
    ----------
    values : (z, y, x).
    classes : how many, two or more.
    segmentation : ``otsu`` maximises the variance between classes; ``mixture`` starts there and fits Gaussians.
    """
    distinct = np.unique(values)
    if len(distinct) <= classes:
        return _described(values, np.searchsorted(distinct, values))
    found = _described(values, np.searchsorted(_otsu(values, classes), values, side="left"))
    return _mixture(found) if segmentation == "mixture" else found


def _otsu(values: Array, classes: int) -> Values:
    """Thresholds that maximise the variance between classes; a value at a threshold belongs below it."""
    import SimpleITK as sitk

    otsu = sitk.OtsuMultipleThresholdsImageFilter()
    otsu.SetNumberOfThresholds(classes - 1)
    otsu.SetNumberOfHistogramBins(BINS)
    otsu.Execute(sitk.GetImageFromArray(values))
    return np.asarray(otsu.GetThresholds(), dtype=np.float64)


def _described(values: Array, labels: npt.NDArray[np.intp]) -> Classes:
    """Measure each class that has voxels; labels are numbered anew without the empty ones."""
    kept, labels = np.unique(labels, return_inverse=True)
    labels = labels.reshape(values.shape)
    groups = [values[labels == k].astype(np.float64) for k in range(len(kept))]
    return Classes(
        values,
        labels,
        np.array([group.size / values.size for group in groups]),
        np.array([group.mean() for group in groups]),
        np.array([max(float(group.std()), LEAST_DEVIATION) for group in groups]),
    )


def _mixture(start: Classes) -> Classes:
    from sklearn.mixture import GaussianMixture

    sample = np.sort(start.values.ravel())
    if sample.size > QUANTILES:
        sample = sample[np.linspace(0, sample.size - 1, QUANTILES).round().astype(int)]
    fitted: Any = GaussianMixture(
        len(start.means),
        weights_init=start.weights,
        means_init=start.means[:, None],
        precisions_init=(1 / start.deviations**2)[:, None, None],
        reg_covar=LEAST_DEVIATION**2,
        max_iter=200,
        random_state=0,
    ).fit(sample[:, None].astype(np.float64))
    order = np.argsort(fitted.means_[:, 0])
    weights, means = fitted.weights_[order], fitted.means_[order, 0]
    deviations = np.sqrt(fitted.covariances_[order, 0, 0])
    found = Classes(start.values, start.labels, weights, means, deviations)
    densities = np.stack([found._log_density(k) for k in range(len(means))])
    return Classes(start.values, densities.argmax(axis=0), weights, means, deviations)
