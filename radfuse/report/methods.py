"""A methods paragraph, from the settings and nothing else."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from radfuse.data.study import Study
from radfuse.report.citations import cited, listed, numbered
from radfuse.report.section import number

Settings = Mapping[str, Any]

COMBATS = ("combat", "combat_gam", "covbat", "nested_combat")


def methods(study: Study) -> tuple[str, list[str]]:
    """Say what was done, with the papers behind it; a stage whose settings are not there is left out.

    Returns
    -------
    The paragraph with numbers in brackets, and the references in their order.
    """
    config = study.config
    lines = [
        _align(_part(config, "align")),
        _fuse(_part(config, "fuse")),
        _extract(_part(config, "extract"), study),
        _harmonize(_part(config, "harmonize"), study),
        *_train(_part(config, "train"), study),
        _versions(study),
    ]
    return numbered(" ".join(line for line in lines if line))


def methods_file(text: str, references: Sequence[str]) -> bytes:
    """Give paragraph and references as a Markdown file."""
    return "\n".join(["## Methods", "", text, "", "## References", "", *listed(references), ""]).encode("utf-8")


def _part(config: Settings, *path: str) -> Settings:
    for name in path:
        inner = config.get(name)
        config = inner if isinstance(inner, Mapping) else {}
    return config


def method_of(value: object) -> str:
    """The name of a chosen component."""
    return str(value.get("method", "")) if isinstance(value, Mapping) else str(value or "")


def joined(names: Sequence[str]) -> str:
    """Join names as a sentence does.

    Examples
    --------
    >>> joined(["a"]), joined(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def _align(align: Settings) -> str:
    if not align:
        return ""
    spacing = align.get("spacing_mm")
    size = " by ".join(map(_plain, spacing)) if isinstance(spacing, list | tuple) else _plain(spacing)
    voxels = "a voxel size chosen from the cohort" if spacing == "auto" else f"voxels of {size} mm"
    lead = f", led by {align['reference']}" if align.get("reference") else ""
    how = _sampled(align.get("interpolation"))
    text = f"The scans of each subject were resampled once, {how}, onto one grid with {voxels}{lead} [@simpleitk]."
    registration = _part(align, "registration")
    if method_of(registration) == "none":
        text += " They were placed by their headers, without registration."
    elif registration:
        # Demons moves by forces of its own; mutual information decides in every method whether the move is taken.
        judged = ", judged" if method_of(registration) == "demons" else ","
        text += f" Registration was {method_of(registration)}{judged} by mutual information [@mattes]"
        gate = _part(registration, "gate")
        if gate:
            text += f"; a transform replaced the headers' alignment only if {joined(_asked(gate))}"
        text += "."
    text += _to_template(_part(align, "template"), align.get("reference"))
    corrected = {name: method_of(each) for name, each in _part(align, "partial_volume").items()}
    if corrected:
        told = joined([f"{name} ({method})" for name, method in corrected.items()])
        text += f" Partial-volume effects were corrected, guided by the outlines: {told}."
    scales = [f"{name} by {_steps(each)}" for name, each in _part(align, "intensity").items()]
    if scales:
        text += f" Intensities were brought to a scale: {joined(scales)}."
    drawn = [f"{name} by {_outlined(each)}" for name, each in _part(align, "tissues").items()]
    if drawn:
        text += f" For that alone were outlined: {joined(drawn)}."
    if set(_part(align, "fwhm_mm")) - set(corrected):
        text += " The inputs of fusion, and only they, were blurred to a common point spread."
    return text


def _asked(gate: Mapping[str, Any]) -> list[str]:
    """What a gate asks of a transform, in words."""
    told = {
        "min_gain": ("mutual information rose by at least {:g} %", 100),
        "max_displacement_mm": ("no corner moved further than {:g} mm", 1),
        "min_overlap": ("at least {:g} % of the points stayed inside", 100),
        "max_inverse_mm": ("registering back ended within {:g} mm", 1),
    }
    against_headers = () if gate.get("headers", "judged") == "judged" else ("min_gain", "max_displacement_mm")
    asked = [name for name in told if name in gate and name not in against_headers]
    return [told[name][0].format(told[name][1] * gate[name]) for name in asked]


def _to_template(template: Settings, reference: Any) -> str:
    """What was brought to a template, how, and in whose millimetres lesions were measured."""
    if not template:
        return ""
    scan = template.get("modality") or reference or "the first scan"
    how = method_of(_part(template, "registration"))
    way = "by its headers" if how == "none" else f"by {how} registration"
    name = str(template.get("image")).replace("\\", "/").rpartition("/")[2]
    where = (
        "and with it all scans and regions, which were measured in the template's space"
        if template.get("space") == "template"
        else "whose mask was carried back; all was measured in the patient's space"
    )
    return f" Of each subject {scan} was brought to the template {name} {way}, {where}."


def _outlined(tissue: Any) -> str:
    if not isinstance(tissue, Mapping) or tissue.get("of") == "manifest":
        return "hand or as given"
    if tissue.get("of") == "template":
        return "the template's mask"
    program = shlex.split(str(tissue.get("command")))[0].rpartition("/")[2]
    return f"{program} {tissue.get('release') or ''}".strip()


def _sampled(chosen: Any) -> str:
    """How the images were interpolated, by modality where they differ."""
    if isinstance(chosen, Mapping):
        differing = [f"{name} by {method}" for name, method in chosen.items() if method != "linear"]
        return f"linearly ({joined(differing)})" if differing else "linearly"
    return "linearly" if chosen in (None, "linear") else f"by {chosen}"


def _steps(scale: Any) -> str:
    """The steps of an intensity scale, in order."""
    return " then ".join(method_of(step) for step in (scale if isinstance(scale, list | tuple) else [scale]))


def _fuse(fuse: Settings) -> str:
    names = [cited(method_of(member)) for member in fuse.get("methods") or ()]
    return f"Fused volumes were made by {joined(names)}." if names else ""


def _extract(extract: Settings, study: Study) -> str:
    if not extract or study.table is None:
        return ""
    count, modalities = study.table.values.shape[1], study.table.modalities
    version = study.environment.get("pyradiomics-cuda")
    packaged = f" (distribution pyradiomics-cuda {version})" if version else ""
    how = {
        "pyradiomics": f"with PyRadiomics [@pyradiomics]{packaged}",
        "ibsi": "as the IBSI reference manual defines them [@ibsi], its image processing included,",
    }.get(
        method_of(extract.get("extractor")),
        f"with radfuse's implementation of PyRadiomics' features [@pyradiomics]{packaged}",
    )
    text = f"{count} features were extracted {how} from {joined(modalities)}."
    derived = [f"{name} ({method_of(region)})" for name, region in (extract.get("regions") or {}).items()]
    return f"{text} Regions derived from the drawn ones were measured too: {joined(derived)}." if derived else text


def has_batches(study: Study) -> bool:
    """Whether any modality has batch labels, without which no harmoniser does anything; so where nothing is known."""
    table = study.table
    return table is None or any(table.batch_of(modality) is not None for modality in table.modalities)


def _harmonize(harmonize: Settings, study: Study) -> str:
    harmonizer = _part(harmonize, "harmonizer")
    name = method_of(harmonizer)
    if not name:
        return ""
    if not has_batches(study):
        return "Features were not harmonised: no batches were declared."
    if name == "none":
        return "Features were not harmonised between batches."
    protect = [str(each) for each in harmonizer.get("protect") or ()]
    kept = f", protecting {joined(protect)}" if protect else ""
    papers = " [@neurocombat] [@combat_radiomics]" if name in COMBATS else ""
    return (
        f"Batches were harmonised by {cited(name)}{papers}{kept}, by modality, fitted on the training rows of each "
        "fold; the outcome was never a covariate."
    )


def _models(train: Settings, setting: str = "", plain: Sequence[object] = ()) -> list[str]:
    """The classifiers, each once; those alone in which a setting is other than plain."""
    members = train.get("classifiers") or ()
    if setting:
        members = [m for m in members if isinstance(m, Mapping) and m.get(setting, plain[0]) not in plain]
    return list(dict.fromkeys(cited(method_of(member)) for member in members))


def _train(train: Settings, study: Study) -> list[str]:
    if not train:
        return []
    found = []
    classifiers = _models(train)
    levels = [_level(member) for member in train.get("fusions") or ()]
    if classifiers and study.table is not None and len(study.table.single) < 2:
        found.append(f"Models were {joined(classifiers)}.")
    elif classifiers and levels:
        found.append(f"Models were {joined(classifiers)}, with {joined(levels)} fusion beside each modality alone.")
    tuned, balanced = _models(train, "tune", (False,)), _models(train, "class_weight", ("none",))
    if tuned:
        found.append(f"Settings of {joined(tuned)} were chosen by the AUC of inner folds of the training rows.")
    if balanced:
        found.append(f"Of {joined(balanced)} the outcomes were weighted as if equally common.")
    facts = [str(each) for each in train.get("clinical_modality") or ()]
    if facts:
        found.append(
            f"Clinical facts ({joined(facts)}) took part as a modality of their own, encoded and imputed on training "
            "rows only, never harmonised."
        )
    selection = method_of(train.get("selection"))
    if selection:
        found.append(f"Imputation (median) and selection ({cited(selection)}) were fitted on training rows only.")
    stability = _part(train, "stability")
    if "icc" in stability:
        found.append(
            f"Features were left out in each fold when {'the lower bound of ' if stability.get('by') == 'low' else ''}"
            f"their ICC({stability.get('kind', '2,1')}) [@icc] over the training subjects' repeated measurements "
            "[@perturbations] was below "
            f"{stability['icc']:g}."
        )
    splits = _part(train, "splits")
    if "folds" in splits and "repeats" in splits:
        seed = f" (seed {splits['seed']})" if "seed" in splits else ""
        found.append(
            f"All arms shared one set of stratified splits by subject, {splits['folds']} folds"
            + (f" repeated {splits['repeats']} times" if splits["repeats"] > 1 else "")
            + f"{seed}."
        )
    elif "site" in splits:
        named = "" if splits["site"] == "batch.*" else f" ({splits['site']})"
        found.append(f"Each site{named} was left out in turn and judged by models trained on all the others.")
    text = "The AUC compares pairs within a fold only, averaged over folds and repeats"
    if "bootstrap" in train and "confidence" in train:
        text += f"; {100 * train['confidence']:g} % intervals come from {train['bootstrap']} resamples of the patients"
        text += " [@bootstrap]"
    found.append(text + ".")
    primary = _part(train, "primary")
    if primary.get("fusion") and primary.get("against"):
        found.append(f"The comparison declared beforehand was {primary['fusion']} fusion against {primary['against']}.")
    return found


def _level(member: Any) -> str:
    """Name a fusion level, and how late fusion combines decisions unless it takes their mean."""
    combined = method_of(_part(member, "combine")) if isinstance(member, Mapping) else ""
    return f"{method_of(member)} (by {combined})" if combined not in ("", "mean") else method_of(member)


def _versions(study: Study) -> str:
    papers = {"radfuse": "", "python": "", "SimpleITK": "", "scikit-learn": " [@scikit-learn]", "torch": " [@torch]"}
    named = [f"{name} {study.environment[name]}{paper}" for name, paper in papers.items() if name in study.environment]
    return f"Software: {', '.join(named)}." if named else ""


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) else number(value)
