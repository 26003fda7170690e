"""PyRadiomics parameters: which belong to which volume, and what is wrong with them."""

import copy
import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from radfuse.data.names import is_fused
from radfuse.errors import ConfigError

FUSED, DEFAULT = "fused", "default"
SECTIONS = ("imageType", "featureClass", "setting", "voxelSetting")

# Grey-level widths that give 10 to 128 levels in each unit; configs/pyradiomics/ holds the measured counts.
BUILT_IN: dict[str, dict[str, Any]] = {
    "CT": {"imageType": {"Original": {}}, "setting": {"binWidth": 15}},
    "PET": {"imageType": {"Original": {}}, "setting": {"binWidth": 0.25}},
    "MR": {"imageType": {"Original": {}}, "setting": {"binWidth": 0.1}},
    "fused": {"imageType": {"Original": {}}, "setting": {"binWidth": 0.0075}},
}


def parameters_for(modality: str, parameters: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Find the parameters of a volume: its exact name, then its kind, then ``default``.

    The kind is ``fused`` for every fused volume, otherwise the part before the first underscore.

    Examples
    --------
    >>> parameters_for("MR_T1", {"MR": {"setting": {"binWidth": 0.1}}, "default": {}})
    {'setting': {'binWidth': 0.1}}
    """
    kind = FUSED if is_fused(modality) else modality.partition("_")[0]
    for name in (modality, kind, DEFAULT):
        if name in parameters:
            return parameters[name]
    raise ConfigError(
        f"no PyRadiomics parameters for {modality}; there are some for {', '.join(parameters) or 'nothing'}",
        hint=f"Add extract.parameters.{kind}, or extract.parameters.default for every other modality.",
    )


def faults(parameters: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with the contents of a parameter file, by PyRadiomics' own schema; empty when valid."""
    from radiomics import getFeatureClasses, getImageTypes

    from radfuse.extract.containment import contained

    with contained():
        classes = {name: list(made.getFeatureNames()) for name, made in getFeatureClasses().items()}
    settings, voxel_settings = _known_settings()
    found = _unknown("", parameters, SECTIONS)
    found += _unknown("setting", parameters.get("setting"), settings)
    found += _unknown("voxelSetting", parameters.get("voxelSetting"), voxel_settings)
    found += _unknown("imageType", parameters.get("imageType"), getImageTypes())
    for name, given in _mapping(parameters.get("imageType")).items():
        found += _unknown(f"imageType.{name}", given, settings)
    found += _unknown("featureClass", parameters.get("featureClass"), classes)
    for name, listed in _mapping(parameters.get("featureClass")).items():
        if name in classes and isinstance(listed, list):
            found += _unknown(f"featureClass.{name}", dict.fromkeys(map(str, listed)), classes[name])
    return found or _refused_by_schema(parameters) or _without_effect(parameters)


def _unknown(place: str, given: object, known: Iterable[str]) -> list[str]:
    lines = []
    for name in _mapping(given):
        if name in known:
            continue
        close = difflib.get_close_matches(str(name), list(known), n=1)
        meant = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
        lines.append(f"{place}{'.' if place else ''}{name}: PyRadiomics does not know it; {meant}")
    return lines


def _mapping(given: object) -> Mapping[str, Any]:
    return given if isinstance(given, Mapping) else {}


def _known_settings() -> tuple[list[str], list[str]]:
    import yaml
    from radiomics import getParameterValidationFiles

    with open(getParameterValidationFiles()[0], encoding="utf-8") as file:
        sections = yaml.safe_load(file)["mapping"]
    return list(sections["setting"]["mapping"]), list(sections["voxelSetting"]["mapping"])


def _refused_by_schema(parameters: Mapping[str, Any]) -> list[str]:
    from pykwalify.errors import PyKwalifyException  # type: ignore[import-untyped]
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    from radfuse.extract.containment import contained

    if not parameters:
        return ["the parameters are empty; name at least one imageType, featureClass or setting"]
    try:
        with contained():
            RadiomicsFeatureExtractor(copy.deepcopy(dict(parameters)))
    except PyKwalifyException as error:
        return [line.removeprefix(" - ").rstrip(".") for line in str(error.msg).splitlines()[1:]] or [str(error.msg)]
    except (ValueError, TypeError) as error:
        return [str(error)]
    return []


def _without_effect(parameters: Mapping[str, Any]) -> list[str]:
    from radfuse.extract.containment import contained
    from radfuse.extract.feature_names import filtered_names

    lines = []
    for name, own in _mapping(parameters.get("imageType")).items():
        with contained() as messages:
            given = filtered_names(name, {**_mapping(parameters.get("setting")), **own})
        if not given:
            reason = "; ".join(messages) or "no sigma is given; write LoG: {sigma: [2.0]}"
            lines.append(f"imageType.{name}: PyRadiomics would measure nothing: {reason}")
    return lines
