"""The shape of a region that reaches beyond what a scan covers: a tumour is no smaller for the edge of an image."""

from dataclasses import replace

from radfuse.data.volume import Mask, Volume
from radfuse.extract.extractor import Measure, Measured

NOTE = "diagnostics_radfuse_FieldOfView"
# Of the IBSI's chapter on morphology, and yet made of grey values.
OF_INTENSITY = ("CentreOfMassShift", "IntegratedIntensity", "MoransI", "GearysC")


def with_whole_shape(measure: Measure, volume: Volume, mask: Mask, shown: Mask) -> Measured:
    """Measure the part of a region that a scan covers, and the shape of all of it.

    As PyRadiomics does with ``resegmentShape: false``, and the IBSI with its morphological mask.

    Parameters
    ----------
    volume : goes on beyond what its scan covers.
    mask, shown : the whole region, and the part.
    """
    found, whole = measure(volume, shown), measure(volume, mask)
    shapes = {name: value for name, value in whole.values.items() if _is_shape(name)}
    problems = {name: why for name, why in found.problems.items() if not _is_shape(name)}
    problems |= {name: why for name, why in whole.problems.items() if _is_shape(name)}
    note = f"{1 - shown.voxels / mask.voxels:.1%} of it is outside the field of view; its shape is of all of it"
    return replace(
        found, values={**found.values, **shapes}, diagnostics={**found.diagnostics, NOTE: note}, problems=problems
    )


def _is_shape(name: str) -> bool:
    return name.startswith("original_shape") and not name.endswith(OF_INTENSITY)
