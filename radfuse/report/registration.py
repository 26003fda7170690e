"""A registered scan beside its reference: where it lies now, and where its headers had put it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from radfuse.data.deformation import Motion, led_back
from radfuse.data.names import is_fused
from radfuse.data.subject import Subject
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask, Volume
from radfuse.report.planes import Place
from radfuse.report.slices import region_of

Array = npt.NDArray[np.float64]

MARGIN_MM = 60.0


@dataclass(frozen=True, eq=False)
class Pair:
    """A scan and the reference that it was registered to, on one grid.

    Parameters
    ----------
    subject : its id.
    fixed, moving : the reference and the scan, as aligned.
    region : the region that is measured in the scan.
    motion : from the common space to the scan's own.
    place : where to cut.
    led : from the common space to the reference's own: the identity, or the way from a template.
    """

    subject: str
    fixed: Volume
    moving: Volume
    region: Mask
    motion: Motion
    place: Place
    led: Motion

    @property
    def moved(self) -> bool:
        """Whether the scan lies elsewhere beside the reference than their headers say."""
        return not self.motion.is_identity if self.led.is_identity else self.motion != self.led

    def after(self, plane: str) -> Array:
        """The scan as it lies now."""
        return np.asarray(self.place.cut(self.moving.array, plane), dtype=np.float64)

    def before(self, plane: str) -> Array:
        """The scan where its headers put it; NaN where the aligned scan, which it is taken from, does not reach."""
        from scipy.ndimage import map_coordinates

        shape, to_mm = self.moving.array.shape, self.moving.geometry.index_to_physical
        axes = np.ogrid[tuple(slice(0, n) for n in shape)]
        index = [self.place.cut(np.broadcast_to(axis, shape), plane) for axis in axes[::-1]]
        points = np.stack([each.ravel() for each in index], axis=1) @ to_mm[:3, :3].T + to_mm[:3, 3]
        inverse = np.linalg.inv(to_mm)
        source = led_back(self.motion, self.led.apply(points)) @ inverse[:3, :3].T + inverse[:3, 3]
        found = map_coordinates(self.moving.array, source.T[::-1], order=1, cval=np.nan, output=np.float64)
        return np.asarray(found.reshape(index[0].shape))


def pairs(subject: Subject) -> list[Pair]:
    """Give the scans of an aligned subject beside its reference, each with the place to look at."""
    region = region_of(subject)
    if region is None:
        return []
    volumes = {
        name: volume
        for name, volume in subject.volumes.items()
        if not is_fused(name) and volume.geometry.matches(region.geometry)
    }
    led = subject.findings.get("align", {}).get("reference")
    lead = led if led in volumes else next(iter(volumes), "")
    place = Place.of(region.geometry, region, MARGIN_MM)
    return [
        Pair(
            subject.id,
            volumes[lead],
            volume,
            _own(subject, name, region),
            subject.transforms.get(name, Transform.identity()),
            place,
            subject.transforms.get(lead, Transform.identity()),
        )
        for name, volume in volumes.items()
        if name != lead
    ]


def doubts(findings: Mapping[str, Any], sensitivity: pd.DataFrame | None) -> dict[tuple[str, str], float]:
    """Say how doubtful each registration is, by subject and scan; 1 is as doubtful as the cohort's median of that scan.

    How little the scan shares with the reference as it now lies, times how much a shift by its error would change the
    region's mean, each against the median of the same scan over the cohort. What is not known counts as the median.

    Parameters
    ----------
    findings : what align found, by subject.
    sensitivity : columns subject, scan and share.
    """
    shares: dict[tuple[str, str], float] = {}
    if sensitivity is not None:
        known = sensitivity.dropna(subset=["share"])
        shares = {(str(s), str(scan)): float(v) for s, scan, v in known[["subject", "scan", "share"]].to_numpy()}
    alike: dict[tuple[str, str], float] = {}
    places = []
    for subject, found in findings.items():
        for scan, one in ((found or {}).get("registration") or {}).items():
            places.append((str(subject), str(scan)))
            value = (one or {}).get("similarity_after" if (one or {}).get("accepted") else "similarity_before")
            if isinstance(value, int | float) and value > 0:
                alike[places[-1]] = float(value)
    usual = {scan: _medians(scan, alike, shares) for scan in {scan for _, scan in places}}
    return {
        (subject, scan): (_over(usual[scan][0], alike.get((subject, scan))))
        * _over(shares.get((subject, scan)), usual[scan][1])
        for subject, scan in places
    }


def worst_first(findings: Mapping[str, Any], sensitivity: pd.DataFrame | None) -> list[str]:
    """Order aligned subjects by their most doubtful registration; those of equal doubt stay in their order."""
    found = doubts(findings, sensitivity)
    most = {str(subject): 0.0 for subject in findings}
    for (subject, _), doubt in found.items():
        most[subject] = max(most[subject], doubt)
    return sorted(most, key=lambda subject: -most[subject])


def _medians(scan: str, *known: Mapping[tuple[str, str], float]) -> list[float | None]:
    return [
        median(own) if (own := [value for (_, name), value in each.items() if name == scan]) else None for each in known
    ]


def _over(value: float | None, other: float | None) -> float:
    return value / other if value is not None and other else 1.0


def _own(subject: Subject, name: str, region: Mask) -> Mask:
    own = subject.masks.get(name)
    return own if own is not None and own.geometry.matches(region.geometry) else region
