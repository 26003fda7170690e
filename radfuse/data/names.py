"""Feature columns: ``{modality}.{pyradiomics name}``. The only file that writes or parses these names.

A region beyond the main one is named too: ``{modality}:{region}.{pyradiomics name}``. The main region's columns carry
no region, so that they stay the same whatever else is measured. A colon, because XGBoost refuses names with brackets.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

FUSED = "fused-"
REGION = ":"


@dataclass(frozen=True)
class FeatureName:
    """A feature column taken apart.

    Examples
    --------
    >>> FeatureName.parse("fused-dwt3d-CT_PET.wavelet-LLH_glcm_Contrast")
    FeatureName(modality='fused-dwt3d-CT_PET', image_type='wavelet-LLH', feature_class='glcm', feature='Contrast')
    >>> FeatureName.parse("CT:rim.original_glcm_Contrast").region
    'rim'
    """

    modality: str
    image_type: str
    feature_class: str
    feature: str
    region: str = field(default="", repr=False)  # empty: the main one

    @property
    def place(self) -> str:
        """Where it is measured: what stands before the dot."""
        return f"{self.modality}{REGION if self.region else ''}{self.region}"

    @classmethod
    def parse(cls, column: str) -> "FeatureName":
        """Take a column apart; names that are not PyRadiomics' keep the whole rest as the feature."""
        prefix, _, rest = column.partition(".")
        modality, _, region = prefix.partition(REGION)
        parts = rest.split("_", 2)
        image_type, feature_class, feature = parts if len(parts) == 3 else ("", "", rest)
        return cls(modality, image_type, feature_class, feature, region)


def column(modality: str, feature: str, region: str = "") -> str:
    """Name a column.

    Parameters
    ----------
    region : a further region; empty for the main one.

    Examples
    --------
    >>> column("CT", "original_glcm_Contrast"), column("CT", "original_glcm_Contrast", "rim")
    ('CT.original_glcm_Contrast', 'CT:rim.original_glcm_Contrast')
    """
    return f"{modality}{REGION if region else ''}{region}.{feature}"


def modality_of(column: str) -> str:
    """Give the modality: what stands before the first dot, without the region.

    Examples
    --------
    >>> modality_of("CT.original_glcm_Contrast"), modality_of("CT:rim.original_glcm_Contrast")
    ('CT', 'CT')
    """
    return column.partition(".")[0].partition(REGION)[0]


def region_of(column: str) -> str:
    """Give the region of a column; empty for the main one."""
    return column.partition(".")[0].partition(REGION)[2]


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
