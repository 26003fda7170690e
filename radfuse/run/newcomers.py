"""New patients of a finished run: their scans and facts, told as the run's own were, and whether they are new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from radfuse.data.cohort import Cohort, Columns, Problem, refuse, subject_facts
from radfuse.data.names import fused_modalities, modality_of, region_of
from radfuse.data.reading.tables import read_manifest, read_table
from radfuse.data.region import MAIN
from radfuse.data.table import BATCH, CONTEXT, GROUP, OUTCOME, FeatureTable
from radfuse.errors import CohortError
from radfuse.fuse.networks.weights import images_seen
from radfuse.run.harmonizing import refuse_associated
from radfuse.run.predictor import Predictor
from radfuse.run.seen import scales_learned
from radfuse.run.store import Store, file_digest
from radfuse.train.stage import Arm

Tables = Mapping[str, pd.DataFrame]


@dataclass(frozen=True, eq=False)
class Newcomers:
    """Who is to be predicted.

    Parameters
    ----------
    cohort : their scans; its modalities are the study's, and its facts are those that a model looks at.
    refused : by subject, why nothing can be said of it.
    outcome : 0 or 1, for those of whom the tables tell it; empty where they do not.
    group : the patient of each row, where the study groups rows and the tables tell it.
    seen : by subject, whose images of the run's own these are.
    notes : sentences that the user should read.
    """

    cohort: Cohort
    refused: Mapping[str, Problem]
    outcome: pd.Series
    group: pd.Series
    seen: Mapping[str, str]
    notes: tuple[str, ...]

    def was_seen(self, subject: str) -> bool | None:
        """Whether the run learned from this patient; None where there are no images by which to tell."""
        return subject in self.seen if self.cohort.scans else None


def read_newcomers(run: Predictor, manifest: Path, tables: Sequence[Path], arms: Sequence[Arm]) -> Newcomers:
    """Read a manifest of new patients, with image paths from its folder, and what the tables tell of them.

    A fault of one patient leaves that one out; one that makes the whole ambiguous raises a CohortError. Without a
    table the manifest has to hold the facts.
    """
    rows = read_manifest(manifest)
    given = {str(path): read_table(path) for path in tables}
    given = given or {str(manifest): rows.set_index("subject").pipe(lambda table: table[~table.index.duplicated()])}
    found = _scans(run, rows, manifest.resolve().parent)
    facts, problems = _facts(run, found, given, arms)
    refuse([*found.fatal, *(problem for problem in problems if not problem.subject)])
    own = [problem for problem in (*found.problems, *problems) if problem.subject and not problem.absent]
    refused = {problem.subject: _together([each for each in own if each.subject == problem.subject]) for problem in own}
    outcome, group, notes = _outcome(run, found.ids, given)
    seen = run.recognised(found)
    cohort = replace(found, modalities=run.modalities, subjects=facts)
    return Newcomers(cohort, refused, outcome, group, seen, notes)


def read_measured(
    run: Predictor, features: Path, tables: Sequence[Path], arms: Sequence[Arm]
) -> tuple[Newcomers, pd.DataFrame]:
    """Read a feature table of new patients, and what the tables tell of them; give the features as they are.

    Parameters
    ----------
    features : CSV or Parquet, one row per subject, with the columns that `radfuse extract` writes, unharmonised. A
        patient without a modality has none of its values. Without a table it has to hold the facts too.
    """
    values = read_table(features)
    refuse_associated(list(values.columns), features)
    if values.index.has_duplicates:
        twice = sorted(set(values.index[values.index.duplicated()]))
        raise CohortError(f"{features}: subjects occur twice: {', '.join(twice)}")
    given = {str(path): read_table(path) for path in tables} or {str(features): values}
    known = set(run.table.values.columns)
    columns = [str(column) for column in values.columns if column in known]
    if not columns:
        raise CohortError(
            f"{features} has none of the {len(known)} columns that the models were fitted on; "
            f"found {', '.join(map(str, values.columns[:6]))}",
            hint="Give features as `radfuse extract` writes them, with the settings of the run."
            if run.images
            else "Name them as in the table that the run was trained on, MODALITY.FEATURE.",
        )
    kept = values[columns]
    text = [column for column in columns if not pd.api.types.is_numeric_dtype(kept[column])]
    if text:
        raise CohortError(f"{features}: not numbers in {', '.join(text[:6])}", hint="Check for decimal commas.")
    nobody = pd.DataFrame(index=pd.Index(values.index, name="subject"))
    found = Cohort((), run.modalities, nobody, ())
    told = run.table.modalities if not run.images else run.table.single  # a table says of each what its batch is
    there = {m: kept[[c for c in columns if modality_of(c) == m]].notna().any(axis=1) for m in told}
    facts, problems = _facts(run, found, given, arms, {m: list(kept.index[own]) for m, own in there.items()})
    refuse([problem for problem in problems if not problem.subject])
    own = {problem.subject: [each for each in problems if each.subject == problem.subject] for problem in problems}
    refused = {subject: _together(each, "facts") for subject, each in own.items()}
    outcome, group, notes = _outcome(run, found.ids, given)
    notes = (*notes, "features were given: nobody can be recognised as seen in training")
    return Newcomers(replace(found, subjects=facts), refused, outcome, group, {}, notes), kept.astype("float64")


def learned_from(run: Predictor, cohort: Cohort, store: Store) -> dict[str, str]:
    """Find patients from whose images the weights of a fusion network, or an intensity scale, of the run learned.

    Parameters
    ----------
    store : where the patients' aligned images lie, from which a network may have learned as well.
    """
    methods = run.config.fuse.methods if run.fuses else ()
    learned = frozenset[str]().union(*(images_seen(m.trained_weights) for m in methods if m.trained_weights))
    scaled = frozenset[str]().union(*scales_learned(run.config).values())
    found = {}
    for subject in cohort.ids if learned or scaled else ():
        images = {file_digest(scan.image) for scan in cohort.scans_of(subject) if scan.image.is_file()}
        aligned = store.read("align", subject)
        if learned & (images | set(aligned.files.values() if aligned is not None else ())):
            found[subject] = "an example of a fusion network"
        elif scaled & images:
            found[subject] = "an example of an intensity scale"
    return found


def _together(problems: Sequence[Problem], source: str = "manifest") -> Problem:
    what, hints = ("; ".join(dict.fromkeys(texts)) for texts in zip(*((p.what, p.hint) for p in problems), strict=True))
    return Problem(problems[0].subject, f"{source}: {what}", hints, fatal=False)


def _scans(run: Predictor, rows: pd.DataFrame, root: Path) -> Cohort:
    """The patients without facts, of the modalities that are there; a main region of the study's own."""
    settings = run.config.cohort
    present = [modality for modality in run.modalities if (rows["modality"] == modality).any()]
    if not present:
        found = ", ".join(dict.fromkeys(rows["modality"]))
        raise CohortError(f"the manifest has no {' or '.join(run.modalities)}; found {found}")
    named = [name for name in dict.fromkeys(rows["region"]) if name] if "region" in rows else []
    main = _main_region(run, named) if named and not settings.regions else settings.region
    return Cohort.assemble(rows, {}, Columns(), root, present, settings.regions, main)


def _main_region(run: Predictor, named: Sequence[str]) -> str:
    """The study's main region among those of a manifest, which may well list them in another order."""
    main = run.main_region
    further = {region_of(column) for column in run.table.values.columns} | set(run.config.align.tissues)
    # A study that names no region, or whose manifest is elsewhere: the one that has no columns of its own name.
    likely = [main] if main in named else [name for name in named if name not in further] if main == MAIN else []
    if len(likely) != 1:
        raise CohortError(
            f"the manifest draws {', '.join(named)}; which of them is the study's main region"
            + (" cannot be told" if main == MAIN else f", {main!r}, is not said"),
            hint="Name the main region in the column `region` as in the study's manifest, and leave others out.",
        )
    return likely[0]


def _facts(
    run: Predictor,
    cohort: Cohort,
    tables: Tables,
    arms: Sequence[Arm],
    measured: Mapping[str, Sequence[str]] | None = None,
) -> tuple[pd.DataFrame, list[Problem]]:
    """Batches and covariates as `FeatureTable.subjects` has them; what no model looks at is left empty.

    Parameters
    ----------
    measured : by modality, who has it; None goes by the scans.
    """
    trained, ids = run.table, cohort.ids
    if measured is None:
        measured = {
            m: [s for s in ids if any(scan.modality == m for scan in cohort.scans_of(s))] for m in trained.single
        }
    needed = [name for name in trained.covariates if is_needed(run, name, arms)]
    known, problems = subject_facts(ids, tables, Columns(covariates=needed), ())
    facts = {
        name: known[name] if name in known else pd.Series(np.nan, cohort.subjects.index) for name in trained.covariates
    }
    for name in needed:
        facts[name], faults = _as_trained(facts[name], trained.subjects[name])
        problems += faults
    for modality in measured:
        if trained.batch_of(modality) is not None:
            facts[f"{BATCH}{modality}"], faults = _labels(run, modality, ids, measured[modality], tables)
            problems += faults
    for modality in (m for m in trained.fused if m not in measured):
        if trained.batch_of(modality) is not None:
            facts[f"{BATCH}{modality}"] = _joined(trained, modality, facts)
    if GROUP in trained.subjects:
        facts[GROUP] = pd.Series(ids, cohort.subjects.index)
    return pd.DataFrame(facts, index=cohort.subjects.index), list(dict.fromkeys(problems))


def is_needed(run: Predictor, covariate: str, arms: Sequence[Arm]) -> bool:
    """Whether a harmoniser, a baseline or the clinical modality makes use of a covariate; others only pass through."""
    harmonizer = run.config.harmonize.harmonizer
    used = {*run.config.protected, *harmonizer.facts} if any(arm.baseline is None for arm in arms) else set()
    used |= {c.removeprefix(CONTEXT) for arm in arms if arm.baseline is not None for c in arm.baseline.columns}
    used |= {name for arm in arms for name in arm.clinical}
    return covariate in used


def _labels(
    run: Predictor, modality: str, ids: Sequence[str], owners: Sequence[str], tables: Tables
) -> tuple[pd.Series, list[Problem]]:
    """The batch of each subject; one that lacks the modality may lack the label too, and then it is empty."""
    source = run.config.cohort.batches.get(modality, run.config.cohort.batches.get("*", ""))
    columns, name = Columns(batches={modality: source}), f"{BATCH}{modality}"
    strict, problems = subject_facts(owners, tables, columns, [modality]) if owners else (pd.DataFrame(), [])
    lenient, _ = subject_facts([s for s in ids if s not in owners], tables, columns, [modality])
    parts = [part[name] for part in (strict, lenient) if name in part]
    found = pd.concat(parts) if parts else pd.Series(dtype=object)
    labels = run.table.batch_of(modality)
    known = set() if labels is None else set(labels)
    text = ["" if pd.isna(label) or label == "nan" else str(label) for label in found.reindex(list(ids))]
    # A column of whole numbers with one of them missing is read as 1.0, 2.0, here or in training.
    given = [
        next((form for form in (label, label.removesuffix(".0"), f"{label}.0") if form in known), label)
        for label in text
    ]
    return pd.Series(given, pd.Index(ids, name="subject"), dtype=object), problems


def _joined(trained: FeatureTable, fused: str, facts: Mapping[str, pd.Series]) -> pd.Series:
    """The batch of a fused volume, as the training rows named it.

    There, parts whose labels agree in every row count once. A new patient in whom they differ gets both names, and so
    a batch that training never saw; a part without a label leaves the whole without one.
    """
    kept: dict[str, list[str]] = {}
    twins: list[tuple[str, str]] = []
    for part in fused_modalities(fused, trained.single):
        labels = trained.batch_of(part)
        if labels is None:
            continue
        twin = next((other for other, known in kept.items() if known == labels.tolist()), None)
        if twin is None:
            kept[part] = labels.tolist()
        else:
            twins.append((part, twin))
    own = pd.DataFrame({part: facts[f"{BATCH}{part}"] for part in [*kept, *(part for part, _ in twins)]})
    joined = []
    for row in own.to_dict("records"):
        parts = [row[part] for part in kept] + [row[part] for part, twin in twins if row[part] != row[twin]]
        joined.append("+".join(parts) if all(parts) else "")
    return pd.Series(joined, own.index, dtype=object)


def _as_trained(new: pd.Series, trained: pd.Series) -> tuple[pd.Series, list[Problem]]:
    """Give a covariate the type that it had in training; what cannot be a number is a fault of its subject."""
    numeric = pd.api.types.is_numeric_dtype
    if numeric(trained) and not pd.api.types.is_bool_dtype(trained) and not numeric(new):
        number = pd.to_numeric(new, errors="coerce")
        bad = new.index[number.isna() & new.notna()]
        hint = "Write it as in the table of the study."
        faults = [Problem(str(s), f"{new.name} is {new[s]!r}, and was a number in training", hint) for s in bad]
        return number.astype("float64"), faults
    if not numeric(trained) and numeric(new) and not pd.api.types.is_bool_dtype(new):
        text = [
            None if pd.isna(value) else str(int(value)) if float(value).is_integer() else str(value) for value in new
        ]
        return pd.Series(text, new.index, dtype=object), []
    return new, []


def _outcome(run: Predictor, ids: Sequence[str], tables: Tables) -> tuple[pd.Series, pd.Series, tuple[str, ...]]:
    """The outcome and the groups, where the tables tell them; predicting looks at neither."""
    settings, nothing = run.config.cohort, pd.Series(dtype=object)
    if not any(settings.outcome in table.columns for table in tables.values()):
        return nothing, nothing, ()
    facts, problems = subject_facts(ids, tables, Columns(outcome=settings.outcome, positive=settings.positive), ())
    whole = [problem.what for problem in problems if not problem.subject]
    if whole or OUTCOME not in facts:
        return nothing, nothing, (f"no external AUC: {'; '.join(whole)}",)
    unknown = {problem.subject for problem in problems}
    group = nothing
    if settings.group is not None and any(settings.group in table.columns for table in tables.values()):
        found, _ = subject_facts(ids, tables, Columns(group=settings.group), ())
        group = found.get(GROUP, nothing)
    return facts[OUTCOME][[subject not in unknown for subject in facts.index]], group, ()
