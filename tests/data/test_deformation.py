"""A map that bends, against SimpleITK and against determinants worked by hand."""

import numpy as np
import pytest
import SimpleITK as sitk

from radfuse.data.deformation import Deformation
from radfuse.data.geometry import Geometry
from radfuse.data.transform import Transform
from radfuse.data.volume import field_to_sitk, transform_to_sitk
from radfuse.errors import DataError

TURNED = Geometry((7, 8, 6), (10.0, 9.0, 12.0), (-20.0, 3.0, 5.0), (0, -1, 0, 1, 0, 0, 0, 0, 1))
LINEAR = Transform.about((5, 5, 5), [[0.98, -0.2, 0], [0.2, 0.98, 0], [0, 0, 1]], (3, 4, 5))


def field_of(function, grid: Geometry = TURNED) -> np.ndarray:
    """Sample a function of points (n, 3) on a grid."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1).reshape(-1, 3)[:, ::-1]
    matrix = grid.index_to_physical
    points = index @ matrix[:3, :3].T + matrix[:3, 3]
    return np.asarray(function(points)).reshape(*grid.shape, 3).astype(np.float32)


def test_points_go_where_simpleitk_takes_them_inside_and_beyond_the_field(rng: np.random.Generator) -> None:
    bent = Deformation(LINEAR, rng.normal(0, 2, (*TURNED.shape, 3)).astype(np.float32), TURNED)
    points = rng.uniform(-90, 110, (2000, 3))
    theirs = transform_to_sitk(bent)
    expected = [theirs.TransformPoint(point) for point in points.tolist()]
    np.testing.assert_allclose(bent.apply(points), expected, atol=1e-9)
    inside = np.any(bent.bend_mm(points) != 0, axis=1)
    assert 0.02 < inside.mean() < 0.9
    np.testing.assert_array_equal(bent.apply(points)[~inside], LINEAR.apply(points)[~inside])


def test_the_jacobian_of_an_affine_field_is_its_determinant_on_a_turned_grid() -> None:
    stretch = np.array([[0.1, 0.02, 0.0], [-0.05, -0.2, 0.03], [0.0, 0.01, 0.3]])
    bent = Deformation(Transform.identity(), field_of(lambda points: points @ stretch.T), TURNED)
    np.testing.assert_allclose(bent.jacobian, np.linalg.det(np.eye(3) + stretch), rtol=1e-5)


def test_the_jacobian_is_that_of_simpleitk(rng: np.random.Generator) -> None:
    grid = Geometry((8, 9, 7), (3.0, 4.0, 5.0))  # theirs does not look at the directions
    bent = Deformation(Transform.identity(), rng.normal(0, 1, (*grid.shape, 3)).astype(np.float32), grid)
    theirs = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(field_to_sitk(bent)))
    inner = (slice(1, -1),) * 3
    np.testing.assert_allclose(bent.jacobian[inner], theirs[inner], rtol=1e-5, atol=1e-6)


def test_a_field_that_turns_space_over_has_a_negative_jacobian() -> None:
    bent = Deformation(Transform.identity(), field_of(lambda points: points * [-1.5, 0, 0]), TURNED)
    np.testing.assert_allclose(bent.jacobian, -0.5, rtol=1e-5)


def test_no_field_is_the_matrix_and_no_motion_the_identity() -> None:
    nothing = np.zeros((*TURNED.shape, 3), np.float32)
    assert Deformation(Transform.identity(), nothing, TURNED).is_identity
    straight = Deformation(LINEAR, nothing, TURNED)
    assert not straight.is_identity
    np.testing.assert_array_equal(straight.apply([[1, 2, 3]]), LINEAR.apply([[1, 2, 3]]))
    assert straight == Deformation(LINEAR, nothing.copy(), TURNED)
    assert straight != Deformation(LINEAR, nothing + 1, TURNED)
    assert straight != LINEAR


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (np.zeros((7, 8, 6, 3), np.float32), r"has shape \(7, 8, 6, 3\), its grid asks for \(6, 8, 7, 3\)"),
        (np.full((6, 8, 7, 3), np.nan, np.float32), "not finite"),
    ],
)
def test_a_field_that_cannot_be_is_refused(field: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Deformation(LINEAR, field, TURNED)


def test_the_way_back_of_a_matrix_and_its_change_of_volume() -> None:
    there = Transform.about((1, 2, 3), np.diag([2.0, 1.0, 0.25]), (5, 6, 7))
    assert there.volume_change == pytest.approx(0.5)
    np.testing.assert_allclose(there.inverse.apply(there.apply([[9.0, 8.0, 7.0]])), [[9.0, 8.0, 7.0]])
    np.testing.assert_allclose(there.apply([[1, 2, 3]]), [[6, 8, 10]])
