"""What `radfuse harmonize` leaves on disk, and the table of an association study, which no AUC is made from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from radfuse.data.table import OUTCOME, FeatureTable
from radfuse.errors import ConfigError, StageError
from radfuse.harmonize.stage import Harmonize, Harmonized
from radfuse.report.harmonised import figures
from radfuse.run.models import save_model
from radfuse.run.session import Session
from radfuse.run.store import write, write_bytes, write_text

DIAGNOSTICS, FITTED, EFFECTS = "diagnostics.json", "harmonizer.skops", "effects.csv"
MARK = "@association"  # a column of the CSV: it travels with the table wherever that is copied
PROTECTED = "association_outcome"


def write_harmonized(folder: Path, found: Harmonized) -> list[str]:
    """Write the table, what was found of the batch effect, its figures and the fitted harmoniser; give their names."""
    write(folder / "features.parquet", lambda path: found.table.values.to_parquet(path))
    write(folder / "features.csv", lambda path: found.table.values.to_csv(path))
    write(folder / FITTED, lambda path: save_model(found.transformer, path))
    return ["features.parquet", "features.csv", FITTED, *write_diagnostics(folder, "", found)]


def write_diagnostics(folder: Path, prefix: str, found: Harmonized) -> list[str]:
    """Write what was found of the batch effect: plain data, a table by feature, figures; give the files' names."""
    write_text(folder / f"{prefix}{DIAGNOSTICS}", json.dumps(found.diagnostics, indent=1, sort_keys=True) + "\n")
    write(folder / f"{prefix}{EFFECTS}", lambda path: found.effects.to_csv(path))
    drawn = figures(found.diagnostics)
    for name, content in drawn.items():
        write_bytes(folder / f"{prefix}{name}", content)
    return [f"{prefix}{name}" for name in (DIAGNOSTICS, EFFECTS, *drawn)]


def verdicts(diagnostics: Mapping[str, Any]) -> dict[str, str]:
    """By modality, the verdict in words."""
    return {modality: str(each.get("verdict", "")) for modality, each in diagnostics.items()}


def associate_study(session: Session) -> str:
    """Harmonise with the outcome protected, into ``association/``; training never sees it, nor does the report."""
    session.everyone("harmonize")
    found = associate(session.config.harmonize, session.table())
    folder = session.store.open("association")
    write_associated(folder / "features.csv", found)
    write_diagnostics(folder, "", found)
    return told(found, folder / "features.csv")


def associate(stage: Harmonize, table: FeatureTable) -> Harmonized:
    """Harmonise with the outcome protected, for an association study."""
    if OUTCOME not in table.subjects:
        raise ConfigError("--association needs an outcome", hint="Name it with cohort.outcome, or --outcome.")
    member = stage.harmonizer
    if "protect" not in type(member).model_fields:
        raise ConfigError(f"--association: the method {member.method} protects no covariates", hint="Use combat.")
    facts = table.subjects.drop(columns=OUTCOME).assign(**{PROTECTED: table.outcome.to_numpy()})
    protect = (*getattr(member, "protect", ()), PROTECTED)
    open_stage = stage.model_copy(update={"harmonizer": member.model_copy(update={"protect": protect})})
    return open_stage(FeatureTable(table.values, facts))


def write_associated(path: Path, found: Harmonized) -> None:
    """Write the table with a column that says what it is, so that `radfuse train` refuses it."""
    marked = found.table.values.copy()
    marked.insert(0, MARK, "the outcome was protected: make no AUC from this table")
    write(path, lambda temporary: marked.to_csv(temporary))


def told(found: Harmonized, path: Path) -> str:
    """The verdicts, and the warning that goes with the table."""
    lines = [f"{modality}: {text}" for modality, text in verdicts(found.diagnostics).items()]
    warning = (
        "The outcome was protected: this table shows associations. Never train on it; protecting the outcome alone "
        "makes an AUC of 0.67 out of noise."
    )
    return "\n".join([*lines, warning, f"association table in {path}"])


def refuse_associated(columns: Sequence[str], path: Path) -> None:
    """Raise a StageError for a table that was harmonised with the outcome protected."""
    if MARK in columns:
        raise StageError(
            f"{path} was harmonised with the outcome protected (--association): an AUC from it would be made of noise",
            hint="Train on the features as they were extracted; ComBat is fitted inside every fold.",
        )


def by_batches(batch: str, settings: dict[str, Any]) -> str:
    """Take ``--batch scanner,kernel`` apart: the first column is the batch, the others go to nested ComBat."""
    first, *further = [name.strip() for name in batch.split(",") if name.strip()] or [""]
    if further:
        member = settings.setdefault("harmonizer", {})
        if isinstance(member, str):
            member = settings["harmonizer"] = {"method": member}
        if member.setdefault("method", "nested_combat") != "nested_combat":
            raise ConfigError(
                f"--batch names {1 + len(further)} columns, and the method is {member['method']}",
                hint="Only nested_combat harmonises several batch variables.",
            )
        member.setdefault("then", {"*": further})
    return first
