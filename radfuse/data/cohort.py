"""Cohort: the manifest and the clinical tables joined, and everything that is wrong with them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from radfuse.data.blur import COLUMN, Stated, stated_of, stated_text
from radfuse.data.names import FUSED
from radfuse.data.outlines import outlines_of
from radfuse.data.region import MAIN, Labels, Outline
from radfuse.data.table import BATCH, GROUP, OUTCOME
from radfuse.errors import CohortError, ConfigError, DataError

UNSET = "CHANGE_ME"
"""What `radfuse init` writes as the outcome where it knows none."""

LEGAL_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
LEGAL_MODALITY = re.compile(r"^[A-Za-z0-9_]{1,32}$")


@dataclass(frozen=True)
class Problem:
    """Something wrong with the cohort.

    Parameters
    ----------
    subject : whom it concerns; empty for the whole cohort.
    what : what is wrong, found against expected.
    hint : what to do.
    fatal : whether nothing may start (the cohort is ambiguous), or only this subject is left out.
    absent : whether it is a modality that the subject was never scanned with, which a study may choose to accept.
    """

    subject: str
    what: str
    hint: str = ""
    fatal: bool = True
    absent: bool = False


@dataclass(frozen=True)
class Scan:
    """An image of a subject and the regions drawn on it.

    Parameters
    ----------
    subject, modality, image : what the manifest says.
    mask : where the main region is drawn; None where it is not drawn on this image.
    labels : the labels of that mask that make the main region.
    further : every further region of the study, drawn on this image or not.
    header_fwhm_mm : what its header says of its blur, where the manifest has it.
    """

    subject: str
    modality: str
    image: Path
    mask: Path | None
    labels: Labels = (1,)
    further: tuple[Outline, ...] = ()
    header_fwhm_mm: Stated | None = None

    @property
    def drawn(self) -> list[tuple[Path, Labels]]:
        """Every mask of this image and the labels measured in it, the main region first."""
        main = [] if self.mask is None else [(self.mask, self.labels)]
        return [*main, *((each.mask, each.labels) for each in self.further if each.mask is not None)]


@dataclass(frozen=True)
class Columns:
    """Which columns of the clinical tables mean what.

    Parameters
    ----------
    outcome : the column to predict; None when only features are wanted.
    positive : the value that counts as 1 when the outcome is written as text.
    group : rows sharing this value are one patient.
    batches : by modality, the column with its scanner or site label; the key ``*`` stands for every modality.
    covariates : clinical facts to carry along (protected in harmonisation, or the clinical baseline).
    """

    outcome: str | None = None
    positive: str | None = None
    group: str | None = None
    batches: Mapping[str, str] | None = None
    covariates: Sequence[str] = ()

    def __post_init__(self) -> None:
        used = {"a covariate": self.covariates, "a batch": (self.batches or {}).values(), "the group": (self.group,)}
        for role, columns in used.items():
            if self.outcome is not None and self.outcome in columns:
                raise ConfigError(
                    f"{self.outcome!r} is the outcome and cannot be {role} too: a model that sees it proves nothing",
                    hint="Name a column that is known before the outcome.",
                )


@dataclass(frozen=True, eq=False)
class Cohort:
    """Who takes part, with which scans and facts.

    Parameters
    ----------
    scans : every image of the manifest, in its order.
    modalities : the modalities of the study, in the order of the manifest or of the config.
    subjects : the facts, as `FeatureTable.subjects` wants them, one row per subject in the manifest's order.
    problems : all that was found wrong, without opening an image.
    regions : the regions of the study, the main one first.
    """

    scans: tuple[Scan, ...]
    modalities: tuple[str, ...]
    subjects: pd.DataFrame
    problems: tuple[Problem, ...]
    regions: tuple[str, ...] = (MAIN,)

    @classmethod
    def assemble(
        cls,
        manifest: pd.DataFrame,
        tables: Mapping[str, pd.DataFrame],
        columns: Columns,
        root: Path,
        modalities: Sequence[str] = (),
        regions: Mapping[str, Labels] | None = None,
        region: str | None = None,
    ) -> Cohort:
        """Join a manifest (see `read_manifest`) with clinical tables (indexed by subject), noting every fault.

        Parameters
        ----------
        regions : the labels of each region, where every mask holds all of them; none given: the manifest's columns
            ``region`` and ``label`` say it.
        region : the main region; by default the first.
        """
        problems: list[Problem] = []
        chosen = tuple(modalities) or tuple(dict.fromkeys(manifest["modality"]))
        rows = manifest[manifest["modality"].isin(chosen)]
        for absent in [m for m in chosen if m not in set(manifest["modality"])]:
            found = ", ".join(dict.fromkeys(manifest["modality"]))
            problems.append(Problem("", f"no scan of modality {absent!r} in the manifest; found {found}"))
        named, outlines, contradictory = outlines_of(rows, regions or {}, root, region)
        problems += [Problem(*fault) for fault in contradictory]
        blurs = _blurs(rows, problems)
        scans = tuple(
            Scan(subject, name, image, drawn[0].mask, drawn[0].labels, tuple(drawn[1:]), blurs.get((subject, name)))
            for subject, name, image, drawn in outlines
        )
        problems += _manifest_problems(scans, chosen)
        ids = list(dict.fromkeys(scan.subject for scan in scans))
        subjects, faults = subject_facts(ids, tables, columns, chosen)
        problems += faults
        problems += _scan_problems(scans, chosen, named[0], manifest[["subject", "modality"]])
        return cls(scans, chosen, subjects, tuple(problems), named)

    @property
    def ids(self) -> list[str]:
        """Every subject, in the manifest's order."""
        return list(self.subjects.index)

    @property
    def fatal(self) -> list[Problem]:
        """The problems that keep anything from starting."""
        return [problem for problem in self.problems if problem.fatal]

    def scans_of(self, subject: str) -> list[Scan]:
        """The scans of one subject, in the order of `modalities`."""
        own = [scan for scan in self.scans if scan.subject == subject]
        return sorted(own, key=lambda scan: self.modalities.index(scan.modality))

    def require_sound(self) -> None:
        """Raise one CohortError listing every fatal problem; do nothing when there is none."""
        refuse(self.fatal)


def refuse(problems: Sequence[Problem]) -> None:
    """Raise one CohortError listing the problems; do nothing when there is none."""
    if not problems:
        return
    problems = list(dict.fromkeys(problems))
    lines = [f"  - {p.subject + ': ' if p.subject else ''}{p.what}" for p in problems]
    hints = list(dict.fromkeys(problem.hint for problem in problems if problem.hint))
    count = f"{len(lines)} problem{'s' if len(lines) > 1 else ''}"
    raise CohortError(f"the cohort cannot be used as it is, {count}:\n" + "\n".join(lines), hint=" ".join(hints))


def _blurs(rows: pd.DataFrame, problems: list[Problem]) -> dict[tuple[str, str], Stated]:
    """What the manifest says of each image's blur; of an image with a row for each region, any row may say it."""
    found: dict[tuple[str, str], Stated] = {}
    for subject, modality, given in zip(rows["subject"], rows["modality"], rows.get(COLUMN, ()), strict=False):
        try:
            stated = stated_of(given)
        except DataError as error:
            problems.append(Problem(subject, f"{modality}: {error.message}", error.hint))
            continue
        if stated is None:
            continue
        if found.setdefault((subject, modality), stated) != stated:
            both = f"{stated_text(found[subject, modality])!r} in one row and {stated_text(stated)!r} in another"
            problems.append(Problem(subject, f"{modality}: {COLUMN} is {both}", "One image has one blur."))
    return found


def _manifest_problems(scans: Sequence[Scan], modalities: Sequence[str]) -> list[Problem]:
    problems = []
    if not scans:
        problems.append(Problem("", "the manifest has no scans"))
    for modality in modalities:
        if not LEGAL_MODALITY.match(modality) or modality.startswith(FUSED):
            problems.append(Problem("", f"modality {modality!r} must be letters, digits and underscores, at most 32"))
    counts: dict[tuple[str, str], int] = {}
    owners: dict[Path, set[str]] = {}
    for scan in scans:
        counts[scan.subject, scan.modality] = counts.get((scan.subject, scan.modality), 0) + 1
        owners.setdefault(scan.image, set()).add(scan.subject)
    for (subject, modality), count in counts.items():
        if count > 1:
            hint = "Keep one row per subject and modality, or name the further ones (CT_late, MR_T2)."
            problems.append(Problem(subject, f"{modality} is listed {count} times", hint))
    for image, subjects in owners.items():
        if len(subjects) > 1:
            problems.append(
                Problem("", f"{image.name} is listed for {', '.join(sorted(subjects))}: one file, one subject")
            )
    ids = list(dict.fromkeys(scan.subject for scan in scans))
    for subject in ids:
        if not LEGAL_ID.match(subject) or set(subject) == {"."}:
            problems.append(
                Problem(subject, "subject ids may hold letters, digits, dot, dash and underscore, at most 64")
            )
    folded: dict[str, list[str]] = {}
    for subject in ids:
        folded.setdefault(subject.casefold(), []).append(subject)
    problems += [
        Problem("", f"ids {' and '.join(same)} differ only in case and would share a folder")
        for same in folded.values()
        if len(same) > 1
    ]
    return problems


def _scan_problems(scans: Sequence[Scan], modalities: Sequence[str], main: str, listed: pd.DataFrame) -> list[Problem]:
    """What leaves a subject out without stopping the others, as far as the file system tells."""
    problems = []
    masked = any(scan.mask is not None for scan in scans)
    if scans and not masked:
        hint = "The column mask names the tumour outline of each image."
        problems.append(Problem("", "the manifest names no mask for any image", hint))
    for subject in dict.fromkeys(scan.subject for scan in scans):
        own = {scan.modality: scan for scan in scans if scan.subject == subject}
        for modality in [m for m in modalities if any(scan.modality == m for scan in scans)]:
            if modality not in own:
                hint = "Add its row to the manifest, or let cohort.missing be keep."
                others = [m for m in listed.loc[listed["subject"] == subject, "modality"] if m not in modalities]
                beside = f"; its rows beside the study's are {', '.join(others)}" if others else ""
                problems.append(Problem(subject, f"has no {modality} scan{beside}", hint, fatal=False, absent=True))
                continue
            scan = own[modality]
            masks = dict.fromkeys(path for path, _ in scan.drawn)
            for what, path in (("image", scan.image), *(("mask", path) for path in masks)):
                if not path.is_file():
                    problems.append(Problem(subject, f"{modality} {what} not found: {path}", fatal=False))
        if masked and all(scan.mask is None for scan in own.values()):
            what = "has no mask for any modality" if main == MAIN else f"has no mask of the main region {main!r}"
            hint = (
                "" if main == MAIN else "The manifest's column `region` names what is drawn; rename it if it does not."
            )
            problems.append(Problem(subject, what, hint, fatal=False))
    return problems


def subject_facts(
    ids: Sequence[str], tables: Mapping[str, pd.DataFrame], columns: Columns, modalities: Sequence[str]
) -> tuple[pd.DataFrame, list[Problem]]:
    """Take outcome, group, batches and covariates out of the tables, as `FeatureTable.subjects` wants them.

    Every problem found is fatal: a fact that is missing or contradictory makes the cohort ambiguous.
    """
    problems: list[Problem] = []
    index = pd.Index(ids, name="subject")
    batches = dict(columns.batches or {})
    everywhere = batches.pop("*", None)
    wanted = {f"{BATCH}{m}": batches.get(m, everywhere) for m in modalities}
    wanted = {GROUP: columns.group, OUTCOME: columns.outcome, **wanted, **{name: name for name in columns.covariates}}
    for modality in [m for m in batches if m not in modalities]:
        problems.append(Problem("", f"a batch column is given for {modality!r}, which is not among {list(modalities)}"))
    joined: dict[str, pd.Series] = {}
    unlisted: dict[tuple[str, str], list[str]] = {}  # by subject and table: the columns that were looked for
    for name, source in wanted.items():
        if source is None:
            continue
        column = _find(source, tables, index, problems, unlisted)
        if column is not None:
            joined[name] = column
    # A row that is not there is one problem, and none of its cells is empty besides.
    for (subject, table), sources in unlisted.items():
        held = ", ".join(map(repr, dict.fromkeys(sources)))
        problems.append(
            Problem(
                subject,
                f"is not in {table}, which holds {held}",
                "Add the row, or take the subject out of the manifest.",
            )
        )
    told = {(subject, source) for (subject, _), sources in unlisted.items() for source in sources}
    if OUTCOME in joined:
        joined[OUTCOME] = _binary(joined[OUTCOME], columns, problems, told)
    empty: dict[tuple[str, str | None], list[str]] = {}
    for name in [name for name in joined if name.startswith(BATCH) or name == GROUP]:
        for subject in joined[name].index[joined[name].isna()]:
            empty.setdefault((subject, wanted[name]), []).append(name)
        joined[name] = joined[name].astype(str)
    hint = "Give every subject a label; an honest one is UNKNOWN."
    problems += [
        Problem(subject, f"{source} (its {' and '.join(names)}) is empty", hint)
        for (subject, source), names in empty.items()
        if (subject, source) not in told
    ]
    return pd.DataFrame(joined, index=index), problems


def _find(
    source: str,
    tables: Mapping[str, pd.DataFrame],
    index: pd.Index,
    problems: list[Problem],
    unlisted: dict[tuple[str, str], list[str]],
) -> pd.Series | None:
    holders = [name for name, table in tables.items() if source in table.columns]
    if not holders:
        known = ", ".join(f"{name}: {', '.join(map(str, table.columns))}" for name, table in tables.items()) or "none"
        every = [str(column) for table in tables.values() for column in table.columns]
        close = difflib.get_close_matches(source, every, n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        what = "cohort.outcome is still CHANGE_ME" if source == UNSET else f"no table has a column {source!r}{meant}"
        problems.append(Problem("", what, f"Name a column of a table in cohort.tables; known, by table: {known}."))
        return None
    if len(holders) > 1:
        problems.append(Problem("", f"column {source!r} is in {' and in '.join(holders)}", "Rename one of them."))
        return None
    column = tables[holders[0]][source]
    twice = sorted(set(column.index[column.index.duplicated()]) & set(index))
    twofold = [Problem(subject, f"occurs more than once in {holders[0]}") for subject in twice]
    problems += [problem for problem in twofold if problem not in problems]
    for subject in [subject for subject in index if subject not in column.index]:
        unlisted.setdefault((subject, holders[0]), []).append(source)
    return column[~column.index.duplicated()].reindex(index)


def _binary(column: pd.Series, columns: Columns, problems: list[Problem], told: set[tuple[str, str]]) -> pd.Series:
    """Turn the outcome into 0 and 1, noting values that are neither, but for those that are told of already."""
    text = column.map(lambda value: "" if pd.isna(value) else _plain(value))
    for subject in text.index[text == ""]:
        hint = "Fill it in or drop the row."
        if (subject, columns.outcome) not in told:
            problems.append(Problem(subject, f"has no outcome ({columns.outcome} is empty)", hint))
    present = sorted(set(text) - {""})
    if columns.positive is not None:
        if present and columns.positive not in present:
            problems.append(Problem("", f"no {columns.outcome} is {columns.positive!r}; found {', '.join(present)}"))
        return (text == columns.positive).astype(int)
    if not set(present) <= {"0", "1"}:
        hint = "Set cohort.positive to the value that counts as the event."
        problems.append(Problem("", f"{columns.outcome} must be 0 or 1, found {', '.join(present[:6])}", hint))
    return (text == "1").astype(int)


def _plain(value: object) -> str:
    """Write 1.0 and True as 1, so that a spreadsheet's types do not matter."""
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
