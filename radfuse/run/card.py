"""The card of an export: what the models are, what they are worth, what they need, and what the folder holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from radfuse.run.exported import FINGERPRINTS, ExportedArm, Manifest
from radfuse.run.fitted import FittedRun

FILES = """| file | what |
|---|---|
| `export.json` | the list: versions, models, what new patients need, SHA-256 of every other file |
| `export.sig` | its signature (Ed25519), where there is one |
| `run.yaml` | every setting of the study, without paths |
| `known.json` | columns, batch labels, covariates |
| `models/` | fitted pipelines as skops: no pickle, and types of a fixed list only |
| `weights/`, `scales/` | of fusion methods and intensity scales, where the study used its own |
| `operating_points.csv` | thresholds chosen on training folds, where the run has them |
| `fingerprints.json` | salted hashes of the images that the models learned from, to recognise those patients |
| `requirements.txt` | the versions that give the same scores to the last digit |
"""
OF_IMAGES = ("| `weights/`", f"| `{FINGERPRINTS}`")


def card(run: FittedRun, manifest: Manifest, *, signed: bool) -> str:
    """Write the card as Markdown."""
    return "\n".join(_lines(run, manifest, signed)) + "\n"


def _lines(run: FittedRun, manifest: Manifest, signed: bool) -> Iterator[str]:
    share = manifest.events / manifest.subjects
    yield f"# {manifest.name}: exported models\n"
    yield (
        f"Radiomics models that predict `{manifest.outcome}`, made by radfuse {manifest.radfuse}. They were fitted on "
        f"{manifest.subjects} subjects, {manifest.events} of them with the outcome ({share:.0%}).\n"
    )
    yield "## What they are worth\n"
    yield from _worth(run, manifest)
    yield "\n## What a new patient needs\n"
    yield from _needs(run, manifest)
    yield "\n## How to use it\n"
    trust = " --trust public.pem" if signed else ""
    yield "```\npip install -r requirements.txt"
    given = "--manifest new.csv --table facts.csv" if run.images else "--features new.csv --subjects facts.csv"
    yield f"radfuse predict FOLDER {given} -o predictions.csv{trust}"
    yield "```\n"
    yield (
        "`new.csv` has one row per image (subject, modality, image, mask); `facts.csv` one row per subject. "
        "With `--features table.csv --subjects facts.csv` features that were measured already are scored.\n"
        if run.images
        else "Both have one row per subject: `new.csv` the features, `facts.csv` the facts below.\n"
    )
    yield "## Limits\n"
    yield from _limits(manifest)
    yield "\n## What is in this folder\n"
    yield FILES if run.images else "".join(line for line in FILES.splitlines(True) if not line.startswith(OF_IMAGES))
    yield from _privacy(run, manifest, signed)


def _worth(run: FittedRun, manifest: Manifest) -> Iterator[str]:
    yield f"| model | looks at | AUC | {run.config.train.confidence:.0%} interval | subjects | events |"
    yield "|---|---|---|---|---|---|"
    for name, arm in manifest.arms.items():
        primary = " (primary)" if name == manifest.primary else ""
        yield f"| {name}{primary} | {' + '.join(arm.modalities)} | {_auc(arm)} |"
    yield ""
    yield (
        "By cross-validation inside the study, pairs within a fold: how well a model of this making orders patients "
        "of the same places. The models here were fitted on all subjects once more; the table is no test of them on "
        "further patients. "
        + (f"`{manifest.primary}` was declared before the run. " if manifest.primary else "")
        + "The best of many models looks better than it is."
    )


def _auc(arm: ExportedArm) -> str:
    found = {name: arm.judged.get(name) for name in ("auc", "ci_low", "ci_high", "n", "events")}
    if found["auc"] is None:
        return "not judged | | | "
    known = found["ci_low"] is not None and found["ci_high"] is not None
    interval = f"{found['ci_low']:.2f} to {found['ci_high']:.2f}" if known else "none"
    counts = " | ".join("" if found[name] is None else f"{found[name]:.0f}" for name in ("n", "events"))
    return f"{found['auc']:.3f} | {interval} | {counts}"


def _needs(run: FittedRun, manifest: Manifest) -> Iterator[str]:
    needs = manifest.needs
    if not run.images:
        yield (
            f"- the {len(run.table.values.columns)} features of `known.json`, made and named as in the study, of "
            f"{' and '.join(needs['modalities'])}; those of a modality that was not measured stay empty"
        )
    else:
        yield from _images(needs)
    for modality, batch in needs["batches"].items():
        known = ", ".join(batch["known"])
        yield f"- `{batch['column']}`: scanner or site of {modality}; known: {known}; others: by the rule in `run.yaml`"
    for name, kind in needs["covariates"].items():
        yield f"- `{name}`: a {kind}, as in the study"


def _images(needs: Mapping[str, Any]) -> Iterator[str]:
    yield f"- images of {' and '.join(needs['modalities'])}, with the region `{needs['main_region']}` drawn"
    for name, labels in needs["regions"].items():
        yield f"- masks in which `{name}` is the label {' + '.join(map(str, labels)) or 'all'}"


def _limits(manifest: Manifest) -> Iterator[str]:
    yield "- For research. No medical device, and no advice about a patient."
    yield "- A score orders patients; it is a probability only as far as the study's report shows it calibrated."
    yield "- Patients of other places, scanners, protocols or prevalence may be scored worse than the table says."
    if manifest.events < 100 or manifest.subjects - manifest.events < 100:
        # Collins, Ogundimu & Altman, Stat Med 2016, doi:10.1002/sim.6787: at least 100 events and 100 non-events.
        yield (
            "- The study is small: validating a model takes at least 100 patients with the outcome and 100 without "
            "(doi:10.1002/sim.6787)."
        )


def _privacy(run: FittedRun, manifest: Manifest, signed: bool) -> Iterator[str]:
    yield (
        "No names, images, rows or outcomes of patients are in it, and no paths. Models hold what was learned: means, "
        "medians, knots and borders over the study's patients, and counts per batch."
    )
    keeping = [name for name, arm in manifest.arms.items() if arm.keeps_rows]
    if keeping:
        yield f"\n**Except:** {', '.join(keeping)} keep scaled feature rows of patients (support vectors)."
    if run.images:
        yield (
            f"\n`{FINGERPRINTS}` lets whoever has the file of an image tell that it was learned from, and nothing "
            "else. Weights of fusion networks and intensity scales carry such hashes, unsalted, of their own training "
            "images and of the scans behind those.\n"
        )
    yield (
        "Signed: `radfuse predict --trust public.pem` makes sure that the owner of that key made it. Get the key from "
        "the owner, not with the folder."
        if signed
        else "Not signed: the hashes in `export.json` tell damage. They cannot tell who made the folder, since whoever "
        "changes a file can change its hash."
    )
