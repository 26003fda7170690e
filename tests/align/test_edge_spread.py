"""The point spread read off the skin, on phantoms whose point spread is known."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from radfuse.align.edge_spread import edge_spread
from radfuse.align.point_spread import point_spread
from radfuse.align.resolution import FWHM_PER_SIGMA
from radfuse.align.stage import Align
from radfuse.data.geometry import Geometry
from radfuse.data.subject import Subject
from radfuse.data.volume import Mask, Volume
from radfuse.errors import DataError

FINE = (96, 124, 132)  # of 1 mm
BODY_MM = (48.0, 44.0, 30.0)


def body(fwhm_mm: tuple[float, float, float], step: tuple[int, int, int], noise: float = 20.0) -> Volume:
    """A body like an egg in air, blurred on a fine grid by a known Gaussian and sampled on a coarser one."""
    z, y, x = np.meshgrid(*(np.arange(n) - n / 2 + 0.3 for n in FINE), indexing="ij")
    a, b, c = BODY_MM
    inside = np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2) <= 1
    truth = np.where(inside, 40.0, -1000.0)
    truth[(np.abs(x) < 8) & (np.abs(y) < 8) & (np.abs(z) < 8)] = 400.0  # a bone in the middle
    blurred = gaussian_filter(truth, [width / FWHM_PER_SIGMA for width in fwhm_mm[::-1]])
    sampled = blurred[:: step[2], :: step[1], :: step[0]]
    sampled = sampled + np.random.default_rng(1).normal(0, noise, sampled.shape)
    grid = Geometry(sampled.shape[::-1], tuple(map(float, step)))  # type: ignore[arg-type]
    return Volume(sampled.astype(np.float32), grid, "CT", "HU")


@pytest.mark.parametrize(
    ("fwhm_mm", "step"),
    [
        ((3.0, 3.0, 5.0), (1, 1, 3)),
        ((6.0, 5.0, 7.0), (2, 2, 3)),
        ((7.0, 8.0, 6.0), (4, 4, 3)),
        ((4.0, 4.0, 4.0), (2, 2, 2)),
    ],
)
def test_a_known_gaussian_is_found_to_a_tenth(fwhm_mm: tuple[float, ...], step: tuple[int, ...]) -> None:
    found = edge_spread(body(fwhm_mm, step))  # type: ignore[arg-type]
    assert [each.fwhm_mm for each in found] == pytest.approx(fwhm_mm, rel=0.10)
    assert min(each.edges for each in found) >= 50


def test_neither_gain_nor_offset_nor_where_the_axes_point_matters() -> None:
    ct = body((6.0, 5.0, 7.0), (2, 2, 3))
    plain = [each.fwhm_mm for each in edge_spread(ct)]
    scaled = [each.fwhm_mm for each in edge_spread(ct.with_array(0.01 * ct.array + 30, "z"))]
    assert scaled == pytest.approx(plain, rel=1e-2)
    swapped = Geometry(ct.geometry.size, ct.geometry.spacing_mm, direction=(0, -1, 0, 1, 0, 0, 0, 0, 1))
    turned = Volume(ct.array, swapped, "CT", "HU")
    upright = Geometry((4, 4, 4), (1.0, 1.0, 1.0))
    (x, y, z), found = point_spread(turned, "estimate", upright)
    assert [y, x, z] == pytest.approx(plain)
    assert len(found["from_edges"]) == 3
    oblique = Volume(
        ct.array, Geometry(ct.geometry.size, (2, 2, 3), direction=(0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1)), "CT", "HU"
    )
    with pytest.raises(DataError, match="oblique"):
        point_spread(oblique, "estimate", upright)


def test_an_image_without_skin_is_refused_with_its_axis_and_one_axis_can_be_given() -> None:
    grid = Geometry((30, 30, 20), (2.0, 2.0, 2.0))
    flat = Volume(np.random.default_rng(0).normal(40, 5, grid.shape).astype(np.float32), grid, "CT", "HU")
    with pytest.raises(DataError, match=r"point spread of CT along x cannot be told: \d+ profiles"):
        point_spread(flat, "estimate", grid)
    assert point_spread(flat, (3.0, 4.0, 5.0), grid) == ((3.0, 4.0, 5.0), {})
    blank = edge_spread(flat.with_array(np.zeros(grid.shape, np.float32)))
    assert [each.fwhm_mm for each in blank] == [None, None, None]
    mixed, found = point_spread(body((6.0, 5.0, 7.0), (2, 2, 3)), ("estimate", "estimate", 3.3), grid)
    assert mixed == (pytest.approx(6.0, rel=0.1), pytest.approx(5.0, rel=0.1), 3.3)
    assert found["from_edges"][2] == 0


def test_align_estimates_and_matches_to_one_resolution_of_the_cohort() -> None:
    ct = body((3.0, 3.0, 5.0), (2, 2, 3))
    mask = Mask((np.abs(ct.array - 40) < 60).astype(np.uint8), ct.geometry)
    settings = {"registration": "none", "spacing_mm": 2.0, "fwhm_mm": {"CT": "estimate"}}
    out = Align.model_validate(settings | {"target_fwhm_mm": 8.0})(Subject("S", {"CT": ct}, {"CT": mask}))
    found = out.findings["align"]["point_spread"]["CT"]["estimated_fwhm_mm"]
    assert found == pytest.approx([3.0, 3.0, 5.0], rel=0.15)
    assert out.findings["align"]["resolution"]["CT"]["source_fwhm_mm"] == found
    assert [each.fwhm_mm for each in edge_spread(out.matched["CT"])] == pytest.approx([8.0] * 3, rel=0.1)
    with pytest.raises(ValidationError, match="fwhm_mm of CT is told from each scan, so target_fwhm_mm must be given"):
        Align.model_validate(settings)


def test_the_headers_word_adds_to_the_scanners_blur_in_squares_and_along_the_scans_own_axes() -> None:
    size, upright = (8, 8, 8), Geometry((4, 4, 4), (1.0, 1.0, 1.0))
    swapped = Geometry(size, (2.0, 2.0, 3.0), direction=(0, 0, 1, 0, 1, 0, -1, 0, 0))  # its third axis lies along x
    pet = Volume(np.zeros((8, 8, 8), np.float32), swapped, "PET", "SUV", header_fwhm_mm=(3.0, 3.0, 0.0))
    widths, told = point_spread(pet, "header", upright, (4.0, 4.0, 4.0))
    assert widths == pytest.approx((4.0, 5.0, 5.0))
    assert told == {"fwhm_mm": list(widths), "header_fwhm_mm": [3.0, 3.0, 0.0], "scanner_fwhm_mm": [4.0, 4.0, 4.0]}
    ct = Volume(pet.array, upright.with_spacing_mm(0.5, 0.5, 0.5), "CT", "HU", header_fwhm_mm=(None, None, 2.5))
    assert point_spread(ct, (0.9, 0.9, "header"), upright)[0] == (0.9, 0.9, 2.5)
    with pytest.raises(DataError, match=r"word along x, and the manifest's header_fwhm_mm says - x -"):
        point_spread(ct, "header", upright)
    with pytest.raises(ValidationError, match=r"give scanner_fwhm_mm\.PET too"):
        Align.model_validate({"fwhm_mm": {"PET": "header"}, "target_fwhm_mm": 7})
    with pytest.raises(ValidationError, match="looks 10 mm around the region"):
        Align.model_validate(
            {
                "fwhm_mm": {"PET": "header"},
                "scanner_fwhm_mm": {"PET": (4.0, 4.0, 5.0)},
                "partial_volume": {"PET": "rbv"},
                "margin_mm": 9.0,
            }
        )
    for given in ({}, {"PET": 6.0}, {"PET": "estimate"}, {"CT": "header"}):
        with pytest.raises(ValidationError, match=r"scanner_fwhm_mm\.PET is only added where fwhm_mm\.PET is `header`"):
            Align.model_validate({"fwhm_mm": given, "target_fwhm_mm": 7, "scanner_fwhm_mm": {"PET": 5.0}})


def test_align_matches_each_scan_from_what_its_header_states() -> None:
    ct = body((3.0, 3.0, 5.0), (2, 2, 3))
    mask = Mask((np.abs(ct.array - 40) < 60).astype(np.uint8), ct.geometry)
    stage = Align.model_validate(
        {"registration": "none", "fwhm_mm": {"CT": (3.0, 3.0, "header")}, "target_fwhm_mm": 8.0, "spacing_mm": 2.0}
    )
    out = stage(Subject("S", {"CT": replace(ct, header_fwhm_mm=(None, None, 5.0))}, {"CT": mask}))
    assert [each.fwhm_mm for each in edge_spread(out.matched["CT"])] == pytest.approx([8.0] * 3, rel=0.1)
    with pytest.raises(DataError, match="header_fwhm_mm says nothing of this image"):
        stage(Subject("S", {"CT": ct}, {"CT": mask}))
