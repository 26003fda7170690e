"""What IBSI-1 asks an implementation to reproduce: the digital phantom, the configurations, and when a value agrees."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from radfuse.data.geometry import Geometry
from radfuse.data.volume import Mask, Volume
from radfuse.extract.ibsi import Ibsi, Merging
from radfuse.extract.ibsi1.added import tag_of
from radfuse.extract.ibsi1.catalogue import Feature, features
from radfuse.extract.ibsi1.conformed import Conformed, conform

# The digital phantom, slice by slice, row by row; a dot is a voxel outside of the region, which holds 1, 9 above the
# dot of the third slice. Design: A. Zwanenburg, github.com/theibsi/data_sets, CC BY 4.0.
PHANTOM = """
14411 14611 41641 44641
14411 11611 .1311 44611
144.. 11111 11.11 11611
144.. 11111 11111 11611
"""
PHANTOM_SPACING_MM = 2.0

SIGNIFICANT = 3


@dataclass(frozen=True)
class Configuration:
    """One of the manual's processing schemes (manual 5.2).

    Parameters
    ----------
    name : ``digital`` for the digital phantom, A to E for the CT phantom.
    summary : in words.
    setting : the section `setting` of a PyRadiomics parameter file.
    extractor : what goes beyond such a file; its merging lists all but the one PyRadiomics has.
    """

    name: str
    summary: str
    setting: dict[str, Any]
    extractor: Ibsi

    @property
    def on_ct(self) -> bool:
        """Whether it is one of the CT phantom's."""
        return self.name != "digital"

    @property
    def parameters(self) -> dict[str, Any]:
        """A PyRadiomics parameter file: every feature that IBSI has too, those no longer advised included."""
        chosen: dict[str, list[str]] = {}
        for feature in features().values():
            if not feature.added:
                name, _, short = feature.name.partition("_")
                if short not in chosen.setdefault(name, []):
                    chosen[name].append(short)
        return {"imageType": {"Original": {}}, "featureClass": chosen, "setting": self.setting}

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Mergings that the manual has values for."""
        own = "2_5D_avg" if self.setting.get("force2D") else "3D_avg"
        return (own, *self.extractor.merging)

    def in_pyradiomics(self, feature: Feature, tag: str) -> bool:
        """Whether a tag is what a column of PyRadiomics holds, by name and by how texture is merged."""
        return not feature.added and tag == tag_of(feature, self.dimensions[0])

    def measure(self, volume: Volume, mask: Mask) -> dict[str, tuple[str, float]]:
        """Measure a phantom: column and value by tag."""
        found = self.extractor.build(self.parameters)(volume, mask).values
        own, *others = self.dimensions
        values = {}
        for feature in features().values():
            for merging in (*others, own):
                tag = tag_of(feature, merging)
                suffix = "" if merging == own else tag.removeprefix(feature.tag)
                name = f"original_{feature.name}{suffix}"
                if name in found:
                    values[tag] = (name, found[name])
        return values

    def processed(self, volume: Volume, mask: Mask) -> dict[str, float]:
        """Give the manual's diagnostic features: what the image and the masks are after every step (manual 5.2.2)."""
        processing = self.extractor.build(self.parameters).processing_for(volume)
        return dict(_diagnostics(volume, mask, conform(volume, mask, processing, np.inf)))


_2D: tuple[Merging, ...] = ("2D_avg", "2D_comb", "2_5D_comb")
_CT_2D = {"resegmentRange": [-500, 400], "force2D": True}
_LINEAR_3D = {"resampledPixelSpacing": [2, 2, 2], "interpolator": "sitkLinear"}

CONFIGURATIONS = (
    Configuration(
        "digital",
        "digital phantom as it is",
        {"binWidth": 1},
        Ibsi(families=True, rounding="always", merging=("2D_avg", "2D_comb", "2_5D_avg", "2_5D_comb", "3D_comb")),
    ),
    Configuration(
        "A",
        "CT, 2D, no interpolation, [-500, 400] HU, bins of 25 HU",
        {**_CT_2D, "binWidth": 25},
        Ibsi(families=True, merging=_2D),
    ),
    Configuration(
        "B",
        "CT, 2D, linear to 2 mm in plane, [-500, 400] HU, 32 bins",
        {**_CT_2D, "binCount": 32, "resampledPixelSpacing": [2, 2, 0], "interpolator": "sitkLinear"},
        Ibsi(families=True, merging=_2D),
    ),
    Configuration(
        "C",
        "CT, 3D, linear to 2 mm, [-1000, 400] HU, bins of 25 HU",
        {**_LINEAR_3D, "resegmentRange": [-1000, 400], "binWidth": 25},
        Ibsi(families=True, merging=("3D_comb",), ivh_bin_width=2.5),
    ),
    Configuration(
        "D",
        "CT, 3D, linear to 2 mm, 3 sigma, 32 bins",
        {**_LINEAR_3D, "binCount": 32},
        Ibsi(families=True, merging=("3D_comb",), outlier_sigma=3),
    ),
    Configuration(
        "E",
        "CT, 3D, cubic spline to 2 mm, [-1000, 400] HU and 3 sigma, 32 bins",
        {**_LINEAR_3D, "interpolator": "sitkBSpline", "resegmentRange": [-1000, 400], "binCount": 32},
        Ibsi(families=True, merging=("3D_comb",), outlier_sigma=3, ivh_bin_count=1000),
    ),
)


def digital_phantom() -> tuple[Volume, Mask]:
    """Make the digital phantom of 5 x 4 x 4 voxels (manual 5.1)."""
    slices = [rows.split() for rows in PHANTOM.strip().split("\n")]
    inside = np.array([[[voxel != "." for voxel in row] for row in rows] for rows in slices])
    levels = np.array([[[int(voxel.replace(".", "1")) for voxel in row] for row in rows] for rows in slices])
    levels[2, 2, 2] = 9
    grid = Geometry((5, 4, 4), (PHANTOM_SPACING_MM,) * 3)
    return Volume(levels.astype(np.int16), grid, "digital phantom", "a.u."), Mask(inside.astype(np.uint8), grid)


def agrees(value: float, reference: float, tolerance: float) -> tuple[bool, bool]:
    """Say whether a value agrees with a reference value, and whether only after rounding to three figures.

    The manual prints three significant figures, and a tolerance of 0 where implementations have to agree on them.
    """
    room = tolerance + 1e-9 * abs(reference)
    if abs(value - reference) <= room:
        return True, False
    agreed = bool(np.isfinite(value)) and abs(float(f"{value:.{SIGNIFICANT}g}") - reference) <= room
    return agreed, agreed


def _diagnostics(volume: Volume, mask: Mask, conformed: Conformed) -> Iterator[tuple[str, float]]:
    """Give the diagnostic features by MIRP's tags; ``conformed`` holds the whole image."""
    before = volume.array.astype(np.float64)
    for state, image, grid in (("init", before, volume.geometry), ("interp", conformed.image, conformed.geometry)):
        for axis, size, spacing in zip("xyz", grid.size, grid.spacing_mm, strict=True):
            yield f"img_dim_{axis}_{state}_img", size
            yield f"vox_dim_{axis}_{state}_img", spacing
        for name, value in _intensities(image):
            yield f"{name}_{state}_img", value
    states = (
        ("init", before, mask.inside, mask.inside),
        ("interp", conformed.image, conformed.morphology, conformed.morphology),
        ("reseg", conformed.image, conformed.intensity, conformed.morphology),
    )
    for state, image, intensity, morphology in states:
        for axis, size in zip("xyz", intensity.shape[::-1], strict=True):
            yield f"int_mask_dim_{axis}_{state}_roi", size
        for kind, inside in (("int", intensity), ("morph", morphology)):
            for axis, places in zip("zyx", np.nonzero(inside), strict=True):
                yield f"{kind}_mask_bb_dim_{axis}_{state}_roi", int(places.max() - places.min()) + 1
            yield f"{kind}_mask_vox_count_{state}_roi", int(inside.sum())
        for name, value in _intensities(image[intensity]):
            yield f"int_mask_{name}_{state}_roi", value


def _intensities(values: Any) -> Iterator[tuple[str, float]]:
    yield from (("mean_int", values.mean()), ("min_int", values.min()), ("max_int", values.max()))
