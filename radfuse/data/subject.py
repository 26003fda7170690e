"""One patient's images while they travel through align, fuse and extract."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

from radfuse.data.deformation import Motion
from radfuse.data.volume import Mask, Volume


@dataclass(frozen=True, eq=False)
class Subject:
    """Volumes, masks, and what the stages found. It carries no outcome: no subject stage can look at one.

    Parameters
    ----------
    id : the manifest's subject.
    volumes : by name (the modality, or a fused name such as ``fused-dwt3d-CT_PET``).
    masks : the main region of each volume, by the same names.
    matched : inputs of fusion where they differ from ``volumes``: the same grid at one common resolution.
        Single-modality features are never measured here, or a fused gain would be an artefact of blur.
    transforms : by modality, from the reference's space to that modality's.
    findings : by stage, plain JSON values worth keeping (gate decisions, volume changes, skipped work).
    regions : further regions than that of ``masks``: by the region's name, then by the volume's.
    absent : further regions that the study measures and this subject does not have, each with the reason.
    seen : by volume, the part of the grid that its scan covers, where that is not all of it. Masks are whole and
        volumes padded; what is measured is the `gone_on` volume inside its mask `cut` to this: no padding counts.
    """

    id: str
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    masks: Mapping[str, Mask] = field(default_factory=dict)
    matched: Mapping[str, Volume] = field(default_factory=dict)
    transforms: Mapping[str, Motion] = field(default_factory=dict)
    findings: Mapping[str, Any] = field(default_factory=dict)
    regions: Mapping[str, Mapping[str, Mask]] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    seen: Mapping[str, Mask] = field(default_factory=dict)

    def cut(self, name: str, mask: Mask) -> Mask:
        """Cut a region to what the scan of a volume covers: beyond it there are no values, only padding."""
        return mask.within(self.seen.get(name))

    def gone_on(self, name: str) -> Volume:
        """Give a volume that goes on beyond what its scan covers: filters and splines find no cliff there."""
        return self.volumes[name].gone_on(self.seen.get(name))

    def seen_by_all(self, names: Iterable[str]) -> Mask | None:
        """Give the part of the grid that the scans of several volumes cover; None where that is all of it."""
        parts = [self.seen[name] for name in names if name in self.seen]
        return reduce(Mask.within, parts) if parts else None

    def with_findings(self, stage: str, found: Mapping[str, Any]) -> "Subject":
        """Add what a stage found."""
        return replace(self, findings={**self.findings, stage: dict(found)})
