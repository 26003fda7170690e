"""Write a commented study config for a manifest."""

import difflib
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from radfuse.data.cohort import UNSET
from radfuse.data.modality import unit_of
from radfuse.data.reading.tables import read_manifest, read_table
from radfuse.errors import ConfigError
from radfuse.run.shipped import shipped
from radfuse.run.store import write_text

PARAMETERS = {"HU": "ct", "SUV": "pet", "counts": "pet", "a.u.": "mr"}
BATCH_WORDS = ("batch", "scanner", "site", "centre", "center", "manufacturer", "vendor", "institution")

TEMPLATE = """\
# A radfuse study. Every setting that is not here has its default: `radfuse list --settings` shows them.
# Check it with `radfuse validate`; run it with `radfuse run`, or stage by stage: align, fuse, extract,
# harmonize, train, report.
name: {name}

cohort:
  root: {root}                    # image paths and tables start from here
  manifest: {manifest}            # one row per image: subject, modality, image, mask
  tables: [{tables}]              # one row per subject
  outcome: {outcome}              # the column to predict, 0 or 1{outcome_note}
  modalities: [{modalities}]
  reference: {reference}          # its frame and its region lead
  batches:                        # scanner or site of each modality{batch_note}
{batches}
align:
  spacing_mm: auto                # one isotropic grid for the cohort, from the reference's voxels
  registration: {{method: rigid}}   # taken only when clearly better than the headers; `none` trusts the headers
  fwhm_mm: {{}}                     # point spread by modality, such as {{PET: 6.0}}: matched for fusion only

fuse:
  methods: [average, maximum, dwt3d, mdafuse]

extract:
  parameters:                     # PyRadiomics' own YAML; fixed bin widths in the unit of each modality
{parameters}
harmonize:
  harmonizer:
    method: combat
    protect: []                   # covariates whose effect is kept, such as age and sex; never the outcome

train:
  classifiers: [logistic, random_forest, xgboost]
  splits: {{folds: 5, repeats: 10, seed: 0}}
  baselines: {{clinical: []}}       # columns known at the time of imaging
  primary: {{fusion: early, against: {reference}}}   # the one comparison, declared before the run
"""


def write_study(manifest: Path, tables: Sequence[Path], outcome: str | None, study: Path) -> Path:
    """Write radfuse.yaml and the parameter files; give the config's path.

    Guesses (outcome, batch columns) are marked as such in the file.
    """
    target = study / "radfuse.yaml"
    if target.exists():
        raise ConfigError(f"{target} is already there", hint="Edit it, or choose another folder with --study.")
    rows = read_manifest(manifest)
    modalities = list(dict.fromkeys(rows["modality"]))
    facts = {path: read_table(path) for path in tables}
    if outcome is not None and not any(outcome in table.columns for table in facts.values()):
        every = [str(column) for table in facts.values() for column in table.columns]
        close = difflib.get_close_matches(outcome, every, n=1)
        meant = f"; did you mean {close[0]!r}?" if close else f"; found {', '.join(every) or 'no table'}"
        raise ConfigError(
            f"no --table has a column {outcome!r}{meant}",
            hint="Name a column of those tables, or give a further --table.",
        )
    root = manifest.resolve().parent
    guessed = outcome or _guess_outcome(facts)
    found = {modality: _guess_batch(facts, modality) for modality in modalities}
    batches = "".join(f"    {m}: {c}\n" for m, c in found.items() if c) or "    {}\n"
    text = TEMPLATE.format(
        name=study.resolve().name,
        root=root,
        manifest=manifest.name,
        tables=", ".join(_relative(path, root) for path in tables),
        outcome=guessed or UNSET,
        outcome_note="" if outcome else "; a guess, check it",
        modalities=", ".join(modalities),
        reference=modalities[0],
        batch_note="; guesses, check them" if any(found.values()) else "; {} when there is one scanner",
        batches=batches,
        parameters="".join(f"    {m}: pyradiomics/{PARAMETERS[unit_of(m)]}.yaml\n" for m in modalities)
        + ("    fused: pyradiomics/fused.yaml\n" if len(modalities) > 1 else ""),
    )
    copy_parameters(study, {*(PARAMETERS[unit_of(m)] for m in modalities), "fused"})
    write_text(target, text)
    return target


def copy_parameters(study: Path, names: set[str]) -> None:
    """Put shipped PyRadiomics files into a study, so that the folder is whole and they can be edited."""
    folder = study / "pyradiomics"
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(names):
        if not (folder / f"{name}.yaml").exists():
            shutil.copyfile(shipped(f"pyradiomics/{name}.yaml"), folder / f"{name}.yaml")


def _guess_outcome(tables: dict[Path, pd.DataFrame]) -> str | None:
    for table in tables.values():
        for column in table.columns:
            if set(table[column].dropna().unique()) == {0, 1}:
                return str(column)
    return None


def _guess_batch(tables: dict[Path, pd.DataFrame], modality: str) -> str | None:
    named = [str(column) for table in tables.values() for column in table.columns]
    likely = [column for column in named if any(word in column.lower() for word in BATCH_WORDS)]
    own = [column for column in likely if modality.lower() in column.lower()]
    general = [column for column in likely if column.lower() in BATCH_WORDS]
    return next(iter(own + general), None)


def _relative(path: Path, root: Path) -> str:
    resolved = path.resolve()
    return str(resolved.relative_to(root)) if resolved.is_relative_to(root) else str(resolved)
