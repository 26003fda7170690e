"""Settings by modality that no image of the study has, such as one with a slip in its name: they would do nothing."""

from collections.abc import Iterable, Iterator

from radfuse.config import Config
from radfuse.data.cohort import Problem
from radfuse.data.names import is_fused
from radfuse.data.reading.tables import read_manifest
from radfuse.extract.parameters import BUILT_IN, DEFAULT, FUSED
from radfuse.fuse.normalisation import DEFAULTS


def idle_settings(config: Config) -> list[Problem]:
    """List the settings that are for no image of the manifest, with what may have been meant. They stop nobody."""
    there = list(dict.fromkeys(read_manifest(config.cohort.root / config.cohort.manifest)["modality"]))
    found = [(place, name) for place, name in _by_name(config) if name not in there]
    found += [(place, name) for place, name in _by_kind(config) if name not in (*there, *map(_kind, there))]
    return [_problem(place, name, there) for place, name in found]


def _by_name(config: Config) -> Iterator[tuple[str, str]]:
    """Align, and the inputs of fusion, go by the exact name of a modality."""
    align = config.align
    for setting in ("intensity", "fwhm_mm", "scanner_fwhm_mm", "partial_volume"):
        yield from ((f"align.{setting}.{name}", name) for name in getattr(align, setting))
    if isinstance(align.interpolation, dict):
        yield from ((f"align.interpolation.{name}", name) for name in align.interpolation)
    if align.template is not None and align.template.modality:
        yield f"align.template.modality.{align.template.modality}", align.template.modality
    for name, each in align.tissues.items():
        if each.modality:
            yield f"align.tissues.{name}.modality.{each.modality}", each.modality
    for name in dict.fromkeys(name for group in config.fuse.inputs or () for name in group):
        yield f"fuse.inputs: {name}", name


def _by_kind(config: Config) -> Iterator[tuple[str, str]]:
    """Scales of fusion and parameters go by a name or its kind; those of the defaults are for everybody."""
    for name in config.fuse.normalisation:
        if name not in DEFAULTS:
            yield f"fuse.normalisation.{name}", name
    for name in config.extract.parameters:
        if name not in (*BUILT_IN, DEFAULT, FUSED) and not is_fused(name):
            yield f"extract.parameters.{name}", name


def _problem(place: str, name: str, there: Iterable[str]) -> Problem:
    meant = [other for other in there if _kind(other) == _kind(name)]
    hint = f"Did you mean {' or '.join(meant)}?" if meant else ""
    return Problem("", f"{place} is for no image of the manifest; it has {', '.join(there)}", hint, fatal=False)


def _kind(modality: str) -> str:
    return modality.partition("_")[0]
