"""Shape features of one mask."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from radfuse.extract.kernels.mesh import cube_cases, largest_distance, plane_hulls, surface_extremes

Floats = npt.NDArray[np.float64]

# PyRadiomics takes an eigenvalue this little below nothing for the rounding of a flat region.
ROUNDING = -1e-10


def shape_of(inside: npt.NDArray[np.bool_], spacing_mm: Floats) -> dict[str, float]:
    """Give `shape_features`; the last few masks are remembered, as modalities often share one."""
    packed = np.packbits(inside).tobytes()
    return dict(_remembered(packed, inside.shape, tuple(spacing_mm.tolist())))


@lru_cache(maxsize=4)
def _remembered(packed: bytes, shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> dict[str, float]:
    size = int(np.prod(shape))
    inside = np.unpackbits(np.frombuffer(packed, np.uint8), count=size).astype(bool).reshape(shape)
    return shape_features(inside, np.array(spacing_mm))


def shape_features(inside: npt.NDArray[np.bool_], spacing_mm: Floats) -> dict[str, float]:
    """Give PyRadiomics' 3-D shape features, those it no longer advises included.

    Parameters
    ----------
    inside : the region, (z, y, x).
    spacing_mm : voxel size along z, y, x.
    """
    padded = np.pad(inside.astype(np.uint8), 1)
    surface, volume = _mesh(padded, spacing_mm)
    plane, column, row, largest = _diameters(padded, spacing_mm)
    least, minor, major = _eigenvalues(inside, spacing_mm)
    ball = (36 * np.pi * volume**2) ** (1.0 / 3.0)
    features = {
        "Elongation": np.sqrt(minor / major) if major else np.nan,
        "Flatness": np.sqrt(least / major) if major else np.nan,
        "LeastAxisLength": np.sqrt(least) * 4,
        "MajorAxisLength": np.sqrt(major) * 4,
        "Maximum2DDiameterColumn": column,
        "Maximum2DDiameterRow": row,
        "Maximum2DDiameterSlice": plane,
        "Maximum3DDiameter": largest,
        "MeshVolume": volume,
        "MinorAxisLength": np.sqrt(minor) * 4,
        "Sphericity": ball / surface,
        "SurfaceArea": surface,
        "SurfaceVolumeRatio": surface / volume,
        "VoxelVolume": int(inside.sum()) * (spacing_mm[0] * spacing_mm[2] * spacing_mm[1]),
        "Compactness1": volume / (surface**1.5 * np.sqrt(np.pi)),
        "Compactness2": 36.0 * np.pi * volume**2 / surface**3,
        "SphericalDisproportion": surface / ball,
    }
    return {name: float(value) for name, value in features.items()}


def _mesh(padded: npt.NDArray[np.uint8], spacing_mm: Floats) -> tuple[float, float]:
    """Give surface and volume of the marching cubes mesh [Lorensen & Cline 1987, doi:10.1145/37401.37422].

    Both are sums over cubes. A cube's share of the surface follows from its case; its share of the volume, by the
    divergence theorem, from its case and from where it is.
    """
    counts, places = cube_cases(padded)
    surfaces, volumes, areas = _cases(tuple(spacing_mm.tolist()))
    moved = (places * spacing_mm * areas).sum() / 3.0
    return float(counts @ surfaces), float(counts @ volumes + moved)


@lru_cache(maxsize=64)
def _cases(spacing_mm: tuple[float, ...]) -> tuple[Floats, Floats, Floats]:
    """Ask PyRadiomics' own mesher for each of the 256 cubes: surface, volume at the origin, area vector."""
    from radiomics import cShape

    spacing = np.array(spacing_mm)
    surfaces, volumes, areas = np.zeros(256), np.zeros(256), np.zeros((256, 3))
    cubes = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(bool).reshape(256, 2, 2, 2)
    for case, cube in enumerate(cubes):
        surfaces[case], volumes[case], _ = cShape.calculate_coefficients(cube, spacing)
    weights = 1 << np.arange(8)
    for case, cube in enumerate(cubes):
        for axis in range(3):
            # The same cube one voxel on, behind a cube that fills the gap: what is left over is due to the place.
            pair = np.concatenate([np.zeros_like(cube.take([0], axis)), cube], axis)
            first = int(pair.take([0, 1], axis).ravel() @ weights)
            _, both, _ = cShape.calculate_coefficients(np.ascontiguousarray(pair), spacing)
            areas[case, axis] = 3.0 * (both - volumes[first] - volumes[case]) / spacing[axis]
    return surfaces, volumes, areas


def _diameters(padded: npt.NDArray[np.uint8], spacing_mm: Floats) -> tuple[float, float, float, float]:
    """Give the largest distances of surface points: within a plane along z, y and x, and anywhere.

    The ends of the longest distance are corners of the convex hull, so they are corners of the hull of each of the
    three planes that they lie in; hardly any other points are.
    """
    mm_z, mm_y, mm_x = spacing_mm.tolist()
    along_x, along_y = surface_extremes(padded)
    in_z, plane = plane_hulls(along_x, mm_y, mm_x)
    in_y, column = plane_hulls(np.ascontiguousarray(along_x.transpose(1, 0, 2)), mm_z, mm_x)
    in_x, row = plane_hulls(np.ascontiguousarray(along_y.transpose(1, 0, 2)), mm_z, mm_y)
    z, y, side = np.nonzero(in_z & in_y.transpose(1, 0, 2))
    x = along_x[z, y, side]
    at_corner = [(in_x[x, z, end] & (along_y[z, x, end] == y)) for end in (0, 1)]
    kept = at_corner[0] | at_corner[1]
    corners = np.unique(np.stack([z, y, x], axis=1)[kept], axis=0)
    largest = largest_distance(corners * (0.5 * spacing_mm))
    return plane**0.5, column**0.5, row**0.5, largest**0.5


def _eigenvalues(inside: npt.NDArray[np.bool_], spacing_mm: Floats) -> list[float]:
    """Give the variances along the principal axes, least first; sums of whole numbers are exact."""
    coordinates = np.nonzero(inside)
    count = len(coordinates[0])
    sums = [int(axis.sum()) for axis in coordinates]
    covariance = np.empty((3, 3))
    for one in range(3):
        for other in range(3):
            product = int((coordinates[one] * coordinates[other]).sum())
            exact = (count * product - sums[one] * sums[other]) / count**2
            covariance[one, other] = exact * spacing_mm[one] * spacing_mm[other]
    values = np.linalg.eigvalsh(covariance)
    values[(values < 0) & (values > ROUNDING)] = 0.0
    return [float(value) if value >= 0 else float("nan") for value in values]
