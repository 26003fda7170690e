"""The bin advisor: the counts are PyRadiomics', the width leaves most regions with 30 to 130 bins."""

import ast
from typing import Any

import numpy as np
import pytest
from radiomics import imageoperations

from radfuse.data.volume import Mask, Volume
from radfuse.errors import ConfigError, DataError
from radfuse.extract.bins import Span, advise, levels, spans
from radfuse.extract.fast import Fast


def regions(*ranges: tuple[float, float], width: float = 25.0, image_type: str = "Original") -> list[Span]:
    return [Span(image_type, low, high, width) for low, high in ranges]


def test_levels_are_counted_as_pyradiomics_counts_them(rng: np.random.Generator) -> None:
    for width in (0.1, 0.25, 2.0, 25.0):
        values = rng.normal(3, 40 * width, (20, 50))
        top = [np.digitize(row, imageoperations.getBinEdges(row, binWidth=width)).max() for row in values]
        assert levels(values.min(axis=1), values.max(axis=1), width).tolist() == top


@pytest.mark.parametrize(("scale", "wanted"), [(1.0, 2.0), (0.001, 0.002), (1e4, 2e4)])
def test_the_width_is_round_and_follows_the_unit(scale: float, wanted: float) -> None:
    # Ranges of 100, 130 and 150 units: the widths 1 (101 to 151 bins), 2 (51 to 76), 2.5 (41 to 61) are near.
    found = advise("CT", regions((0, 100 * scale), (0, 130 * scale), (0, 150 * scale)))
    assert found.advised.width == pytest.approx(wanted)
    assert (found.advised.fewest, found.advised.median, found.advised.most) == (51, 66, 76)
    assert found.advised.share == 1.0


def test_most_regions_count_and_an_odd_one_does_not_decide() -> None:
    usual = [(0.0, 200.0 + step) for step in range(30)]
    found = advise("CT", regions(*usual, (-1000.0, 3000.0)))
    assert found.advised.share == pytest.approx(30 / 31)
    assert 30 <= found.advised.median <= 130
    assert found.advised.most > 130


@pytest.mark.parametrize("seed", range(6))
def test_the_median_lands_in_the_range_for_any_lognormal_cohort(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reach = np.exp(rng.normal(rng.uniform(-5, 8), 0.5, 40))
    found = advise("MR", regions(*((0.0, float(each)) for each in reach)))
    assert 30 <= found.advised.median <= 130
    assert found.advised.share > 0.75
    best_of_many = max(
        float(((n := levels(np.zeros(40), reach, w)) >= 30).mean() - (n > 130).mean())
        for w in np.geomspace(reach.min() / 200, reach.max() / 10, 400)
    )
    assert found.advised.share >= best_of_many - 0.1  # roundness costs little


def test_a_width_that_does_as_well_may_stay() -> None:
    assert advise("CT", regions((0, 100), (0, 150), width=2.5)).keep
    assert not advise("CT", regions((0, 100), (0, 150), width=25.0)).keep


def test_the_line_to_paste_names_the_place() -> None:
    assert advise("CT", regions((0, 100))).yaml == "setting: {binWidth: 2}"
    assert advise("CT", regions((0, 100), image_type="LoG")).yaml == "imageType: {LoG: {binWidth: 2}}"


def test_constant_regions_give_no_advice() -> None:
    with pytest.raises(ConfigError, match="no region of CT has more than one grey value"):
        advise("CT", regions((3, 3), (5, 5)))


PARAMETERS: dict[str, Any] = {
    "imageType": {"Original": {}, "LoG": {"sigma": [2.0, 3.0]}, "Wavelet": {"binCount": 32}, "Square": {"binWidth": 7}},
    "setting": {"binWidth": 5},
}


def test_spans_are_those_that_extract_cuts(ct: Volume, sphere: Mask) -> None:
    """The extractor's own diagnostics count the grey levels of every image."""
    found = spans(ct, sphere, PARAMETERS)
    assert [(span.image_type, span.width) for span in found] == [
        ("Original", 5.0), ("LoG", 5.0), ("LoG", 5.0), ("Square", 7.0),
    ]  # fmt: skip
    measured = Fast(max_bins=100_000).build(PARAMETERS)(ct, sphere)
    counted = ast.literal_eval(measured.diagnostics["diagnostics_radfuse_GreyLevels"])
    names = ["original", "log-sigma-2-0-mm-3D", "log-sigma-3-0-mm-3D", "square"]
    for name, span in zip(names, found, strict=True):
        assert counted[name] == levels(span.least, span.greatest, span.width), name


def test_spans_follow_resegmentation(ct: Volume, sphere: Mask) -> None:
    inner = spans(ct, sphere, {"setting": {"binWidth": 5, "resegmentRange": [20, 60]}})
    assert inner[0].least >= 20
    assert inner[0].greatest <= 60


def test_a_fixed_number_of_bins_needs_no_advice(ct: Volume, sphere: Mask) -> None:
    assert spans(ct, sphere, {"imageType": {"Original": {}}, "setting": {"binCount": 64}}) == []


def test_a_region_that_cannot_be_measured_is_named(ct: Volume, sphere: Mask) -> None:
    with pytest.raises(DataError, match="the grey values of CT cannot be told"):
        spans(ct, sphere, {"setting": {"binWidth": 5, "minimumROISize": 10**6}})
