"""Feature columns: ``{modality}.{pyradiomics name}``. The only file that writes or parses these names."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

FUSED = "fused-"


@dataclass(frozen=True)
class FeatureName:
    """A feature column taken apart.

    Examples
    --------
    >>> FeatureName.parse("fused-dwt3d-CT_PET.wavelet-LLH_glcm_Contrast")
    FeatureName(modality='fused-dwt3d-CT_PET', image_type='wavelet-LLH', feature_class='glcm', feature='Contrast')
    """

    modality: str
    image_type: str
    feature_class: str
    feature: str

    @classmethod
    def parse(cls, column: str) -> "FeatureName":
        """Take a column apart; names that are not PyRadiomics' keep the whole rest as the feature."""
        modality, _, rest = column.partition(".")
        parts = rest.split("_", 2)
        image_type, feature_class, feature = parts if len(parts) == 3 else ("", "", rest)
        return cls(modality, image_type, feature_class, feature)


def column(modality: str, feature: str) -> str:
    """Name a column."""
    return f"{modality}.{feature}"


def modality_of(column: str) -> str:
    """Give the prefix up to the first dot."""
    return column.partition(".")[0]


def fused_name(method: str, modalities: Iterable[str]) -> str:
    """Name a fused volume; sorted, so that the order in the config does not change the column.

    Examples
    --------
    >>> fused_name("dwt3d", ["PET", "CT"])
    'fused-dwt3d-CT_PET'
    """
    return f"{FUSED}{method}-{'_'.join(sorted(modalities))}"


def is_fused(modality: str) -> bool:
    """Whether a modality is a fused volume."""
    return modality.startswith(FUSED)


def fused_modalities(name: str, known: Sequence[str]) -> list[str]:
    """Give the modalities inside a fused name, recognised among the known ones (names may hold underscores).

    Examples
    --------
    >>> fused_modalities("fused-average-CT_MR_T1", ["CT", "PET", "MR_T1"])
    ['CT', 'MR_T1']
    """
    rest = name.removeprefix(FUSED).partition("-")[2]
    found = []
    while rest:
        match = max((m for m in known if rest == m or rest.startswith(m + "_")), key=len, default=None)
        if match is None:
            return []
        found.append(match)
        rest = rest[len(match) + 1 :]
    return found
