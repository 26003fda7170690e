"""What a modality's numbers mean, told from its name (CT, PET, SPECT, MR, MR_T1, ...)."""

EMISSION = ("SUV", "counts")
"""The units of PET and SPECT."""

PHYSICAL_UNITS = {"CT": "HU", "PET": "SUV", "PT": "SUV", "SPECT": "counts", "NM": "counts"}


def unit_of(modality: str) -> str:
    """Give the unit that a modality's voxels carry: HU, SUV, counts, or a.u. for anything else.

    A name that ends in ``_SUV`` says so itself: a calibrated SPECT is ``SPECT_SUV``.

    Examples
    --------
    >>> unit_of("CT"), unit_of("PET_late"), unit_of("MR_T1"), unit_of("SPECT"), unit_of("SPECT_SUV")
    ('HU', 'SUV', 'a.u.', 'counts', 'SUV')
    """
    if modality.upper().endswith("_SUV"):
        return "SUV"
    return PHYSICAL_UNITS.get(modality.upper().split("_")[0], "a.u.")
