"""What a modality's numbers mean, told from its name (CT, PET, SPECT, MR, MR_T1, ...)."""

PHYSICAL_UNITS = {"CT": "HU", "PET": "SUV", "PT": "SUV", "SPECT": "counts", "NM": "counts"}


def unit_of(modality: str) -> str:
    """Give the unit that a modality's voxels carry: HU, SUV, counts, or a.u. for anything else.

    Examples
    --------
    >>> unit_of("CT"), unit_of("PET_late"), unit_of("MR_T1")
    ('HU', 'SUV', 'a.u.')
    """
    return PHYSICAL_UNITS.get(modality.upper().split("_")[0], "a.u.")
