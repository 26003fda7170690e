"""Spatial autocorrelation of intensities: Moran's I (N365) and Geary's C (NPT7), manual 3.1.28 and 3.1.29."""

import numpy as np
import numpy.typing as npt

from radfuse.data.box import box_of

Floats = npt.NDArray[np.float64]
Inside = npt.NDArray[np.bool_]


def autocorrelation(image: Floats, inside: Inside, spacing_mm: Floats) -> tuple[float, float]:
    """Give Moran's I [Moran 1950, doi:10.2307/2332142] and Geary's C [Geary 1954, doi:10.2307/2986645].

    Pairs of voxels are weighted with the inverse of their distance. The sums go over all pairs: a convolution
    of the region with the weights by Fourier transform, on a grid so large that nothing wraps round.

    Parameters
    ----------
    image, inside : (z, y, x); some voxel is inside.
    spacing_mm : voxel size along z, y, x.

    Returns
    -------
    Moran's I and Geary's C; NaN for a region of one voxel or of equal intensities.
    """
    from scipy import fft

    values = image[inside]
    off = values - values.mean()
    # Products are summed without BLAS, whose threads would decide the last bits.
    squares = float((off * off).sum())
    if values.min() == values.max():
        return np.nan, np.nan
    region = inside[box_of(inside)]
    sizes = [fft.next_fast_len(2 * size - 1) for size in region.shape]
    # The weights are the same either way, so that their transform is real.
    weights = fft.rfftn(_inverse_distances(sizes, spacing_mm), overwrite_x=True).real
    field = np.zeros(region.shape)

    def reached(sources: Floats | float) -> Floats:
        """Give each voxel the weighted sum of all others' sources."""
        field[region] = sources
        spectrum = fft.rfftn(field, sizes)
        spectrum *= weights
        sums = fft.irfftn(spectrum, sizes, overwrite_x=True)
        return np.asarray(sums[tuple(slice(0, size) for size in region.shape)][region])

    weight = reached(1.0)
    total = float(weight.sum())
    products = float((off * reached(off)).sum())
    apart = 2.0 * (float((off * off * weight).sum()) - products)
    return values.size / total * products / squares, (values.size - 1) / (2.0 * total) * apart / squares


def _inverse_distances(sizes: list[int], spacing_mm: Floats) -> Floats:
    """Give one over the distance from the first voxel, around which the grid is periodic; 0 for itself."""
    steps = [
        np.minimum(np.arange(size), size - np.arange(size)) * mm for size, mm in zip(sizes, spacing_mm, strict=True)
    ]
    z, y, x = np.meshgrid(*steps, indexing="ij", sparse=True)
    distances = np.sqrt(z**2 + y**2 + x**2)
    distances[0, 0, 0] = np.inf
    return np.asarray(1.0 / distances)
