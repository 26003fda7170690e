"""Where the numbers come from: settings, versions, times."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from radfuse.data.study import Study
from radfuse.report.checklist import checklists
from radfuse.report.citations import listed
from radfuse.report.section import Block, Fold, Section, Table, Words, absent, number


def provenance(study: Study, paragraph: tuple[str, list[str]], known: Mapping[str, str]) -> Section:
    """Give everything that is needed to say how this was done, and to do it again.

    Parameters
    ----------
    paragraph : what `methods` says, and its references.
    known : what the run states, by topic.
    """
    blocks: list[Block] = []
    text, references = paragraph
    if text:
        blocks += [
            Words("A methods paragraph that states only what the settings of this run state (also in methods.md):"),
            Words(text),
            Fold("References of the methods paragraph", blocks=[Words(line) for line in listed(references)]),
        ]
    else:
        blocks.append(absent("The study has no settings to describe.", "Run it from a config."))
    blocks += checklists(known)
    if study.config:
        dumped = yaml.safe_dump(dict(study.config), sort_keys=False, allow_unicode=True, width=110)
        blocks.append(Fold("The resolved config (YAML)", dumped))
    if study.environment:
        rows = [(str(name), str(value)) for name, value in study.environment.items()]
        blocks.append(Fold("Versions and machine", blocks=[Table("Environment of this run", ("what", "value"), rows)]))
    else:
        blocks.append(absent("The environment was not recorded.", "Run the study with `radfuse run`."))
    if study.seconds:
        seconds = [(str(stage), number(value, 1)) for stage, value in study.seconds.items()]
        columns = ("stage", "wall time (s)")
        blocks.append(Table("Time by stage, of the last call; reused results take none", columns, seconds, columns[1:]))
    return Section("provenance", "Provenance", blocks)
