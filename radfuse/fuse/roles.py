"""Which of the fused modalities is the functional one, for methods that treat uptake and anatomy differently."""

from collections.abc import Sequence

from radfuse.data.modality import PHYSICAL_UNITS

FUNCTIONAL = tuple(name for name, unit in PHYSICAL_UNITS.items() if unit != "HU")


def functional_first(names: Sequence[str], chosen: str | None) -> list[int]:
    """Order the modalities with the functional one first; the others follow by name.

    Parameters
    ----------
    names : modalities that are fused.
    chosen : the functional one by name. Where it is None or not among them, it is the first whose name says PET,
        SPECT, PT or NM, and in a set without any the first by name.

    Examples
    --------
    >>> functional_first(["CT", "PET_late", "MR"], None)
    [1, 0, 2]
    >>> functional_first(["MR", "CT"], None), functional_first(["MR", "CT"], "MR")
    ([1, 0], [0, 1])
    """

    def rank(k: int) -> tuple[bool, bool, str]:
        return names[k] != chosen, names[k].upper().split("_")[0] not in FUNCTIONAL, names[k]

    return sorted(range(len(names)), key=rank)
