"""The self-similarity context and the likeness that is climbed together with mutual information."""

from itertools import combinations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from radfuse.align.registration.context import APART, LIMITS, PATCH, Contexts, context, unlikeness
from radfuse.align.registration.search import Objective, Together
from radfuse.align.registration.similarity import prepared
from radfuse.data.geometry import Geometry
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask, Volume

GRID = Geometry((24, 22, 20), (3.0, 3.0, 3.0), (5.0, -7.0, 100.0))


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return gaussian_filter(rng.normal(size=GRID.shape), 2.0).astype(np.float32)


def shifted(x: float) -> Transform:
    return Transform.about((0, 0, 0), np.eye(3), (x, 0, 0))


def test_context_is_the_formula_voxel_by_voxel(image: np.ndarray) -> None:
    """Heinrich et al. 2013, eq. 3, with the patches of twelve pairs of the six neighbours compared one by one."""
    near = np.array([(-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)]) * APART
    pairs = [(a, b) for a, b in combinations(near, 2) if not np.array_equal(a, -b)]
    assert len(pairs) == 12

    def moved(step: np.ndarray) -> np.ndarray:
        index = [np.clip(np.arange(n) + s, 0, n - 1) for n, s in zip(image.shape, step, strict=True)]
        return image[np.ix_(*index)].astype(np.float64)

    apart = np.array([gaussian_filter((moved(a) - moved(b)) ** 2, PATCH, truncate=3.0) for a, b in pairs])
    apart -= apart.min(axis=0)
    mean = apart.mean(axis=0)
    expected = np.exp(-apart / np.clip(mean, LIMITS[0] * mean.mean(), LIMITS[1] * mean.mean()))
    np.testing.assert_allclose(np.moveaxis(context(image), -1, 0), expected, atol=2e-4)


def test_context_does_not_see_contrast_and_bears_an_image_without_structure(image: np.ndarray) -> None:
    np.testing.assert_allclose(context(-300.0 * image + 40.0), context(image), atol=2e-3)
    assert (context(np.full((8, 8, 8), 7.0, np.float32)) == 1.0).all()


def test_unlikeness_is_the_mean_square_over_the_points_that_are_seen(rng: np.random.Generator) -> None:
    moving = rng.random((6, 7, 8, 2)).astype(np.float32)
    inside = np.ones((6, 7, 8), np.float32)
    inside[:, :, :4] = 0.0
    points = rng.random((200, 3)) * (7, 6, 5)
    wanted = rng.random((200, 2)).astype(np.float32)
    matrix = np.eye(4)[:3]
    seen = np.floor(points[:, 0] + 0.5) >= 4
    there = np.stack([map_coordinates(moving[..., q], points.T[::-1], order=1) for q in range(2)], axis=-1)
    value, met = unlikeness(points, wanted, moving, inside, matrix)
    assert met == seen.sum()
    assert value == pytest.approx(((there - wanted)[seen] ** 2).mean(), rel=1e-5)
    assert unlikeness(points + 100.0, wanted, moving, inside, matrix) == (0.0, 0)


def test_likeness_is_best_at_the_truth_whatever_start_carried_the_image_and_whatever_its_contrast(
    image: np.ndarray,
) -> None:
    fixed = Volume(image, GRID, "MR", "a.u.")
    moving = Volume(-image, Geometry(GRID.size, GRID.spacing_mm, (14.0, -7.0, 100.0)), "PET", "SUV")
    for start in (0.0, 6.0):
        likeness = Contexts.of(fixed, 2000, 1).near(moving, shifted(start), 0.5)
        values = [likeness(shifted(x)) for x in (0.0, 6.0, 9.0, 12.0)]
        assert int(np.argmax(values)) == 2
        assert likeness(shifted(60.0)) == -1.0
        assert Together(Objective.of(fixed, moving, 2000, 1), likeness)(shifted(60.0)) == -1.0
        assert Together(Objective.of(fixed, moving, 2000, 1).wanting(0.5), likeness)(shifted(1000.0)) == -1.0


def test_air_around_a_body_in_ct_is_not_looked_at() -> None:
    array = np.full(GRID.shape, -1000.0, np.float32)
    array[6:14, 6:16, 6:10] = 40.0
    ct = prepared(Volume(array, GRID, "CT", "HU"))
    assert ct.array.min() == -200.0
    assert prepared(Volume(array, GRID, "MR", "a.u.")).array.min() == -1000.0
    x = (Contexts.of(ct, 500, 1).points_mm[:, 0] - GRID.origin_mm[0]) / 3.0
    assert x.min() >= 6 - 2 - 0.5
    assert x.max() <= 9 + 2 + 0.5
    look = np.zeros(GRID.shape, np.uint8)
    look[:, :, :8] = 1
    x = (Contexts.of(ct, 500, 1, Mask(look, GRID)).points_mm[:, 0] - GRID.origin_mm[0]) / 3.0
    assert x.max() <= 7.5
    seen = Contexts.of(Volume(array, GRID, "PET", "SUV"), 500, 1).near(ct, Transform.identity(), 0.5).inside
    assert seen[:, :, 8].any()
    assert not seen[:, :, 16].any()
