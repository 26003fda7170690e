"""The sanity box: what a fused image of two or more medical images should not fall short of."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from radfuse.fuse.quality.fidelity import mean_squared_error

Image = npt.NDArray[np.float64]

# Read off measurements of twelve methods on 137 public MR-CT, MR-PET and MR-SPECT pairs; not to be tuned on.
SSIM_OF_A_SOURCE, CC, MSE_OF_AVERAGE, QABF, RSFE = 0.65, 0.65, 2.5, 0.35, (-0.55, 0.1)


def outside(values: Mapping[str, float], sources: Sequence[Image]) -> list[str]:
    """Say which bounds the `standard` metrics break; those not measured break none.

    Parameters
    ----------
    values : by metric.
    sources : on [0, 1]; their average's MSE is the yardstick of MSE. The bound of SSIM is for pictures with their
        background: inside the box of a body even an average falls short of it.

    Examples
    --------
    >>> outside({"CC": 0.5, "Qabf": 0.4, "rSFe": 0.3}, [])
    ['CC 0.50 not above 0.65', 'rSFe 0.30 above 0.1']
    """
    least = {"CC": CC, "Qabf": QABF}
    if sources and sources[0].ndim == 2:
        least["SSIM"] = SSIM_OF_A_SOURCE * len(sources)
    found = [
        f"{name} {value:.2f} not above {least[name]:g}"
        for name in least
        if (value := values.get(name, math.nan)) <= least[name]
    ]
    if "MSE" in values:
        most = MSE_OF_AVERAGE * mean_squared_error(np.mean(sources, axis=0), sources)
        if values["MSE"] >= most > 0:
            found.append(f"MSE {values['MSE']:.4f} not below {most:.4f}, {MSE_OF_AVERAGE:g} times the average's")
    error = values.get("rSFe", math.nan)
    if error < RSFE[0]:
        found.append(f"rSFe {error:.2f} below {RSFE[0]:g}")
    if error > RSFE[1]:
        found.append(f"rSFe {error:.2f} above {RSFE[1]:g}")
    return found
