"""Everything that went wrong in a run, gathered from the records of all its stages.

There is one list, for failures.csv, the report and the exit code, whichever command was the last to run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from radfuse.data.cohort import Problem
from radfuse.errors import RadfuseError
from radfuse.extract.voxelwise.stage import Voxelwise
from radfuse.run.judging import DECIDING, JUDGED, PERTURBED
from radfuse.run.ledger import Ledger
from radfuse.run.store import Record, digest, file_digest, libraries


def gathered(ledger: Ledger) -> list[Problem]:
    """Everybody who is left out or lost a part, and every arm that could not be trained; texts start with the stage.

    Results of other scans or settings say nothing of the present ones: they are left out.
    """
    again = stability_problems(_records(ledger, ledger.config.stability.folder))
    return [*ledger.failures(), *again, *map_problems(_records(ledger, Voxelwise.name)), *failed_arms(ledger)]


def stability_problems(records: Iterable[Record]) -> list[Problem]:
    """Name the subjects that could not be measured again, and those of whom some repetitions could not."""
    failed, partly = [], []
    for record in records:
        missing = record.findings.get("failed", {})
        if not record.done:
            failed.append(Problem(record.item, f"{record.stage}: {record.what}", record.hint, fatal=False))
        elif missing:
            first = next(iter(missing.values()))
            what = f"{record.stage}: {len(missing)} repetitions could not be measured, so it is in no ICC: {first}"
            partly.append(Problem(record.item, what, "Weaken stability.chain, or leave the subject out.", fatal=False))
    return failed + partly


def map_problems(records: Iterable[Record]) -> list[Problem]:
    """Name the subjects whose maps could not all be made."""
    failed = [record for record in records if not record.done]
    return [Problem(record.item, f"{record.stage}: {record.what}", record.hint, fatal=False) for record in failed]


def failed_arms(ledger: Ledger) -> list[Problem]:
    """The arms that could not be trained with the present features and settings."""
    state = judged_state(ledger) if ledger.tabled else None
    return [Problem(arm, what, hint, fatal=False) for arm, what, hint in (state or {}).get("failed", ())]


def judged_state(ledger: Ledger) -> dict[str, Any] | None:
    """What the last training left, when it is of the present features and settings."""
    try:
        state = json.loads((ledger.store.folder("report") / JUDGED).read_text(encoding="utf-8"))
        return dict(state) if state.get("key") == judged_key(ledger) else None
    except (OSError, ValueError):
        return None


def judged_key(ledger: Ledger) -> str:
    """Hash what a training depends on: settings, versions, features, and the measurements that leave features out."""
    config, root = ledger.config, ledger.store.root
    stages = [(stage.version, stage.model_dump(mode="json")) for stage in (config.train, config.harmonize)]
    measured = root / PERTURBED
    steady = [file_digest(measured)] if config.train.stability is not None and measured.is_file() else []
    return digest(stages, libraries(*DECIDING), file_digest(root / "features.parquet"), *steady)


def _records(ledger: Ledger, stage: str) -> Iterator[Record]:
    """Give the records of a stage beside the subject stages, as far as they are of the present scans and settings."""
    if not ledger.store.folder(stage).is_dir():
        return
    for subject in ledger.eligible:
        record = ledger.store.read(stage, subject)
        if record is not None and record.key == _key(ledger, record):
            yield record


def _key(ledger: Ledger, record: Record) -> str:
    if record.stage == ledger.config.stability.folder:
        return ledger.stability_key(record.item, ledger.config.stability)
    try:  # what the command line chose is in the record, what the config says is the present
        chosen = Voxelwise(parameters=ledger.config.extract.parameters, **record.findings.get("chosen", {}))
    except (RadfuseError, ValueError, TypeError):
        return ""
    return ledger.maps_key(chosen, record.item)
