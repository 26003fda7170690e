"""How good a fused image is, told from it and its sources alone: eighteen metrics in two conventions.

They are sanity checks: a plain average wins on fidelity, a Laplacian pyramid on detail. What a fused image is worth
for prediction only the report's AUC says.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from radfuse.errors import ConfigError, DataError, GeometryError
from radfuse.fuse.quality.body import body_box, describe_box
from radfuse.fuse.quality.conventions import CONVENTIONS, METRICS, PUBLISHED, SLOW, mdafuse, standard
from radfuse.fuse.quality.sanity import outside
from radfuse.fuse.quality.unmeasurable import Unmeasurable

Image = npt.NDArray[np.float64]
Convention = Literal["standard", "mdafuse"]

__all__ = ["CONVENTIONS", "METRICS", "PUBLISHED", "Convention", "Quality", "evaluate", "metrics_of"]


@dataclass(frozen=True)
class Quality:
    """What was found of one fused image.

    Parameters
    ----------
    convention : how it was measured.
    sources : the modalities it was judged against.
    values : by metric, in the order of `METRICS`; NaN where a metric means nothing here.
    reasons : by metric without a value, why.
    region : which voxels were judged, in words.
    clipped : of the fused image and the sources, the largest share of voxels there that lay outside [0, 1].
    outside : the bounds of the sanity box that are broken; only the standard convention has one.
    coarser : how many times wider the functional image's own pixels were taken to be, for QNR; None without its value.
    """

    convention: str
    sources: tuple[str, ...]
    values: Mapping[str, float]
    reasons: Mapping[str, str]
    region: str
    clipped: float
    outside: tuple[str, ...]
    coarser: int | None = None

    def record(self) -> dict[str, Any]:
        """Give plain JSON values; a metric without a value is null."""
        values = {name: None if math.isnan(value) else value for name, value in self.values.items()}
        return {
            "convention": self.convention,
            "sources": list(self.sources),
            "region": self.region,
            "clipped": self.clipped,
            "coarser": self.coarser,
            "values": values,
            "reasons": dict(self.reasons),
            "outside": list(self.outside),
        }


def metrics_of(convention: str, asked: Sequence[str] = ()) -> tuple[str, ...]:
    """Give the metrics to measure, in the order of `METRICS`.

    Parameters
    ----------
    convention : mdafuse has nine; standard has all.
    asked : metrics by name, any case; ``all``; empty: all of the convention but the slow FMI.

    Examples
    --------
    >>> metrics_of("standard", ["ssim", "qabf"])
    ('SSIM', 'Qabf')
    """
    if convention not in CONVENTIONS:
        raise ConfigError(f"unknown convention {convention!r}", hint=f"Known: {', '.join(CONVENTIONS)}.")
    known = METRICS if convention == "standard" else PUBLISHED
    if not asked:
        return tuple(name for name in known if name not in SLOW)
    wanted = {name.lower() for name in asked}
    unknown = sorted(wanted - {name.lower() for name in known} - {"all"})
    if unknown:
        raise ConfigError(
            f"the {convention} convention has no metric {', '.join(unknown)}", hint=f"It has: {', '.join(known)}."
        )
    return tuple(name for name in known if "all" in wanted or name.lower() in wanted)


def evaluate(
    fused: npt.NDArray[np.floating],
    sources: Mapping[str, npt.NDArray[np.floating]],
    convention: Convention = "standard",
    metrics: Sequence[str] = (),
    coarser: int = 1,
) -> Quality:
    """Judge a fused image against what it was made from.

    A picture (y, x) is judged whole. A volume (z, y, x) is judged inside the box of its body: by `standard` as one
    volume, by `mdafuse`, which knows pictures only, as the mean over its axial slices.

    Parameters
    ----------
    fused : as the method gave it, not clipped, on the sources' normalised scale.
    sources : two or more by modality, normalised so that background is 0 and tissue of order 1.
    convention : ``standard``, or ``mdafuse`` to compare with that paper's table.
    metrics : as in `metrics_of`.
    coarser : for QNR, how many times wider the functional image's own pixels are than these.

    Raises
    ------
    DataError : an image is constant where it is judged, or not finite; fewer than two sources.
    GeometryError : shapes differ.
    """
    chosen = metrics_of(convention, metrics)
    _check(fused, sources)
    image = np.asarray(fused, dtype=np.float64)
    # In one order, so that sums over three or more sources do not depend on the order they are given in.
    given = {name: np.asarray(sources[name], dtype=np.float64) for name in sorted(sources)}
    region = f"all {' x '.join(map(str, image.shape))} pixels (y, x)"
    if image.ndim == 3:
        box = body_box(list(given.values()))
        region = describe_box(box, image.shape)
        image = np.ascontiguousarray(image[box])
        given = {name: np.ascontiguousarray(source[box]) for name, source in given.items()}
    if image.ndim == 3 and len(image) == 1:
        image, given = image[0], {name: source[0] for name, source in given.items()}
    clipped = max(float(((each < 0) | (each > 1)).mean()) for each in (image, *given.values()))
    if convention == "mdafuse":
        slices, flat = _slices(image, given)
        if image.ndim == 3:
            region += f", mean over {len(slices)} axial slices" + (f", {flat} flat ones left out" if flat else "")
        values, reasons = _mean([_measured(mdafuse(f, s), chosen) for f, s in slices])
        return Quality(convention, tuple(given), values, reasons, region, clipped, ())
    on_unit = {name: source.clip(0, 1) for name, source in given.items()}
    _check_varies(image.clip(0, 1), on_unit, f"{region}, clipped to [0, 1]")
    values, reasons = _measured(standard(image, on_unit, coarser), chosen)
    flags = tuple(outside(values, list(on_unit.values())))
    used = None if math.isnan(values.get("QNR", math.nan)) else coarser
    return Quality(convention, tuple(given), values, reasons, region, clipped, flags, used)


def _measured(
    measures: Mapping[str, Callable[[], float]], chosen: Sequence[str]
) -> tuple[dict[str, float], dict[str, str]]:
    values, reasons = {}, {}
    for name in chosen:
        try:
            values[name] = float(measures[name]())
        except Unmeasurable as reason:
            values[name], reasons[name] = math.nan, str(reason)
    return values, reasons


def _mean(
    found: Sequence[tuple[dict[str, float], dict[str, str]]],
) -> tuple[dict[str, float], dict[str, str]]:
    """Average the slices that have a value; where none has, the first one's reason stands for all."""
    values, reasons = {}, {}
    for name in found[0][0]:
        known = [each[name] for each, _ in found if not math.isnan(each[name])]
        values[name] = math.fsum(known) / len(known) if known else math.nan
        if not known:
            reasons[name] = found[0][1][name]
    return values, reasons


def _slices(image: Image, given: Mapping[str, Image]) -> tuple[list[tuple[Image, dict[str, Image]]], int]:
    """Give the pictures to judge, and how many axial slices are left out because an image is flat there."""
    if image.ndim == 2:
        _check_varies(image, given, "the whole picture")
        return [(image, dict(given))], 0
    everything = [(image[k], {name: source[k] for name, source in given.items()}) for k in range(len(image))]
    kept = [(f, s) for f, s in everything if min(np.ptp(each) for each in (f, *s.values())) > 0]
    if not kept:
        raise DataError(
            f"no axial slice is left to judge: in each of {len(everything)} the fused image or a source is constant",
            hint="Look at the images; the mdafuse convention stretches every slice and needs one that varies.",
        )
    return kept, len(everything) - len(kept)


def _check(fused: npt.NDArray[np.floating], sources: Mapping[str, npt.NDArray[np.floating]]) -> None:
    if len(sources) < 2:
        raise DataError(f"a fused image is judged against two or more sources, found {len(sources)}")
    if fused.ndim not in (2, 3) or not fused.size:
        raise DataError(f"expected a picture (y, x) or a volume (z, y, x), found shape {fused.shape}")
    for name, source in sources.items():
        if source.shape != fused.shape:
            raise GeometryError(
                f"{name} has shape {source.shape} and the fused image {fused.shape}; expected the same",
                hint="Judge a fused image on the grid of its sources; nothing is resampled here.",
            )
    for name, image in {**sources, "the fused image": fused}.items():
        if not np.isfinite(image).all():
            raise DataError(f"{name} holds {int((~np.isfinite(image)).sum())} values that are not finite numbers")


def _check_varies(fused: Image, sources: Mapping[str, Image], where: str) -> None:
    for name, image in {**sources, "the fused image": fused}.items():
        if np.ptp(image) == 0:
            raise DataError(
                f"{name} is constant: {float(image.flat[0]):g} everywhere in {where}",
                hint="Look at the image and its window: there is nothing in it to be judged.",
            )
