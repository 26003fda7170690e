"""All IBSI-1 features of a conformed image, by IBSI's tags."""

from collections.abc import Collection

from radfuse.extract.ibsi1.conformed import Conformed
from radfuse.extract.ibsi1.families import intensity, texture, volume_histogram
from radfuse.extract.ibsi1.families.morphology import morphology
from radfuse.extract.ibsi1.families.peaks import peaks

FAMILIES = ("morph", "loc", "stat", "ih", "ivh", *texture.FAMILIES)


def measure(
    conformed: Conformed,
    families: Collection[str] = FAMILIES,
    dimensions: Collection[str] = texture.DIMENSIONS,
) -> dict[str, float]:
    """Give IBSI-1 features by the tags of the reference tables, such as ``cm_contrast_2_5D_comb``.

    Parameters
    ----------
    conformed : image, masks and grey levels after image processing.
    families : of `FAMILIES`: morphology, local intensity, statistics, histogram, intensity-volume histogram and six
        texture matrices.
    dimensions : of texture: ``2D`` by slice, ``2_5D`` all slices together, ``3D``.

    Returns
    -------
    values by tag; NaN where a feature is not defined for the region, such as texture of one voxel.
    """
    found: dict[str, float] = {}
    if "morph" in families:
        values = morphology(conformed.image, conformed.intensity, conformed.morphology, conformed.spacing_mm)
        found |= _tagged("morph", values)
    if "loc" in families:
        local, whole = peaks(conformed.image, conformed.intensity, conformed.spacing_mm)
        found |= {"loc_peak_loc": local, "loc_peak_glob": whole}
    if "stat" in families:
        found |= _tagged("stat", intensity.intensity_statistics(conformed.values))
    if "ih" in families:
        found |= _tagged("ih", intensity.histogram(conformed.levels[conformed.intensity]))
    if "ivh" in families:
        processing = conformed.processing
        curve = volume_histogram.volume_histogram(conformed.values, processing.resegment, *processing.ivh_bins)
        found |= _tagged("ivh", volume_histogram.features(curve))
    matrices = [family for family in texture.FAMILIES if family in families]
    if matrices:
        found |= texture.texture(conformed.levels, conformed.morphology, matrices, dimensions)
    return found


def _tagged(family: str, values: dict[str, float]) -> dict[str, float]:
    return {f"{family}_{name}": value for name, value in values.items()}
