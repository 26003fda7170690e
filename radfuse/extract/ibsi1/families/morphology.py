"""Size and shape of a region, IBSI family HCUG (manual 3.1)."""

import numpy as np
import numpy.typing as npt

from radfuse.data.box import box_of
from radfuse.extract.ibsi1.families.enclosing import box_area, ellipsoid_area, smallest_box, smallest_ellipsoid
from radfuse.extract.ibsi1.families.spatial import autocorrelation
from radfuse.extract.kernels.mesh import surface_extremes
from radfuse.extract.native.shape import shape_of

Floats = npt.NDArray[np.float64]
Inside = npt.NDArray[np.bool_]


def morphology(image: Floats, intensity: Inside, region: Inside, spacing_mm: Floats) -> dict[str, float]:
    """Give the morphological features, those that join shape and intensity included.

    Lengths in mm. Where all voxels lie in a plane, what divides by the volume of an ellipsoid is NaN; for one voxel,
    or one intensity, so are Moran's I and Geary's C.

    Parameters
    ----------
    image : intensities, (z, y, x).
    intensity, region : intensity mask and morphological mask; neither is empty.
    spacing_mm : voxel size along z, y, x.
    """
    found, volume = shape(region, spacing_mm)
    values = image[intensity]
    centre = np.argwhere(region).mean(0)
    moran, geary = autocorrelation(image, intensity, spacing_mm)
    total = float(values.sum())
    weighted = (values[:, None] * np.argwhere(intensity)).sum(0) / total if total != 0 else np.full(3, np.nan)
    return found | {
        "com": float(np.linalg.norm((centre - weighted) * spacing_mm)),
        "integ_int": volume * float(values.mean()),
        "moran_i": moran,
        "geary_c": geary,
    }


def shape(region: Inside, spacing_mm: Floats) -> tuple[dict[str, float], float]:
    """Give the features of the morphological mask alone, and the volume of its mesh."""
    from scipy.spatial import ConvexHull

    region = region[box_of(region)]
    mesh = shape_of(region, spacing_mm)
    volume, area = mesh["MeshVolume"], mesh["SurfaceArea"]
    hull = ConvexHull(surface_points(region) * spacing_mm)
    corners = hull.points[hull.vertices]
    sides = np.array(region.shape) * spacing_mm
    small = smallest_box(corners, hull.equations[:, :3])
    axes = 0.5 * principal_axes(region, spacing_mm)
    around = smallest_ellipsoid(corners)
    flat = axes[0] == 0
    least, minor, major = (2.0 * axes).tolist()
    return {
        "volume": volume,
        "vol_approx": int(region.sum()) * float(np.prod(spacing_mm)),
        "area_mesh": area,
        "av": area / volume,
        "comp_1": mesh["Compactness1"],
        "comp_2": mesh["Compactness2"],
        "sph_dispr": mesh["SphericalDisproportion"],
        "sphericity": mesh["Sphericity"],
        "asphericity": mesh["SphericalDisproportion"] - 1.0,
        "diam": mesh["Maximum3DDiameter"],
        "pca_maj_axis": major,
        "pca_min_axis": minor,
        "pca_least_axis": least,
        "pca_elongation": minor / major if major > 0 else np.nan,
        "pca_flatness": least / major if major > 0 else np.nan,
        "vol_dens_aabb": volume / float(np.prod(sides)),
        "area_dens_aabb": area / box_area(sides),
        "vol_dens_ombb": volume / float(np.prod(small)),
        "area_dens_ombb": area / box_area(small),
        "vol_dens_aee": np.nan if flat else volume / _ellipsoid(axes),
        "area_dens_aee": np.nan if flat else area / ellipsoid_area(axes),
        "vol_dens_mvee": volume / _ellipsoid(around),
        "area_dens_mvee": area / ellipsoid_area(around),
        "vol_dens_conv_hull": volume / float(hull.volume),
        "area_dens_conv_hull": area / float(hull.area),
    }, volume


def _ellipsoid(axes: Floats) -> float:
    return float(4.0 / 3.0 * np.pi * np.prod(axes))


def surface_points(region: Inside) -> Floats:
    """Give the outermost surface points of each line, in voxels: all corners of the hull, halfway between voxels."""
    along_x, _ = surface_extremes(np.pad(region.astype(np.uint8), 1))
    z, y, side = np.nonzero(along_x >= 0)
    return np.asarray(0.5 * np.stack([z, y, along_x[z, y, side]], axis=1))


def principal_axes(region: Inside, spacing_mm: Floats) -> Floats:
    """Give the lengths of the principal axes in mm, least first (7J51, P9VJ, TDIC); 0 for one voxel.

    The covariance divides by one less than the voxels, as IBSI's reference values do and PyRadiomics does not.
    """
    places = np.argwhere(region).astype(np.int64)
    count = len(places)
    if count == 1:
        return np.zeros(3)
    # Sums of whole numbers are exact; a flat region gets an axis of exactly 0.
    sums = places.sum(0)
    scatter = (count * (places.T @ places) - np.outer(sums, sums)) / (count * (count - 1))
    values = np.linalg.eigvalsh(scatter * np.outer(spacing_mm, spacing_mm))
    return np.asarray(4.0 * np.sqrt(np.where(values > 1e-12 * values[-1], values, 0.0)))
