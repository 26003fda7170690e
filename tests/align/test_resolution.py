import numpy as np
import pytest

from radfuse.align.resolution import FWHM_PER_SIGMA, blur, kernel_sigma_mm, match, target_fwhm_mm
from radfuse.data.geometry import Geometry
from radfuse.data.volume import Volume

GRID = Geometry((61, 61, 41), (1.0, 1.0, 1.5), (-30.0, -30.0, -30.0))


def point(sigma_mm: tuple[float, float, float]) -> Volume:
    axes = [o + s * np.arange(n) for o, s, n in zip(GRID.origin_mm, GRID.spacing_mm, GRID.size, strict=True)]
    z, y, x = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    exponent = sum((v / s) ** 2 for v, s in zip((x, y, z), sigma_mm, strict=True))
    return Volume(np.exp(-exponent / 2).astype(np.float32), GRID, "CT", "HU")


def fwhm_of(volume: Volume) -> list[float]:
    """Second moments of a point source along x, y, z, as full widths."""
    total = volume.array.sum(dtype=float)
    widths = []
    for axis, step in zip((2, 1, 0), GRID.spacing_mm, strict=True):
        profile = volume.array.sum(axis=tuple(a for a in range(3) if a != axis), dtype=float)
        place = step * np.arange(len(profile))
        mean = (place * profile).sum() / total
        widths.append(FWHM_PER_SIGMA * np.sqrt(((place - mean) ** 2 * profile).sum() / total))
    return widths


def test_a_point_source_ends_at_the_target() -> None:
    source, target = (4.0, 5.0, 4.5), (8.0, 8.0, 9.0)
    volume = point(tuple(f / FWHM_PER_SIGMA for f in source))  # type: ignore[arg-type]
    assert fwhm_of(volume) == pytest.approx(source, rel=0.01)
    matched, _ = match({"CT": volume}, {"CT": source}, target)
    assert fwhm_of(matched["CT"]) == pytest.approx(target, rel=0.01)
    assert matched["CT"].array.sum() == pytest.approx(volume.array.sum(), rel=1e-4)


def test_the_kernel_is_worked_by_hand() -> None:
    sigma = kernel_sigma_mm((3.0, 4.0, 9.0), (5.0, 5.0, 5.0))
    assert sigma == pytest.approx((4.0 / 2.354820, 3.0 / 2.354820, 0.0), rel=1e-6)


def test_the_blurrier_source_is_left_alone_and_it_is_said() -> None:
    volumes = {name: point((3.0, 3.0, 3.0)) for name in ("CT", "PET", "MR")}
    matched, found = match(volumes, {"CT": (2.0, 2.0, 2.0), "PET": (7.0, 7.0, 7.0)}, (6.0, 6.0, 6.0))
    assert list(matched) == ["CT"]
    assert found["PET"]["already_blurrier_along"] == ["x", "y", "z"]  # type: ignore[index]
    assert found["MR"] == "point spread not given: left as it is"


def test_the_target_is_the_largest_along_each_axis() -> None:
    assert target_fwhm_mm({"CT": (1.0, 1.0, 5.0), "PET": (6.0, 4.0, 3.0)}) == (6.0, 4.0, 5.0)
    assert target_fwhm_mm({}) is None


def test_a_flat_image_stays_flat() -> None:
    flat = Volume(np.full(GRID.shape, 40.0, np.float32), GRID, "CT", "HU")
    np.testing.assert_allclose(blur(flat, (3.0, 3.0, 3.0)).array, 40.0, rtol=1e-6)
