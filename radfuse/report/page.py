"""Put the page together: sections in order, one template, one style sheet, nothing loaded."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files

from radfuse.data.study import Study
from radfuse.report.alignment import alignment
from radfuse.report.answer import answer
from radfuse.report.arms import arms, failures
from radfuse.report.batches import batches
from radfuse.report.calibration import calibration
from radfuse.report.checklist import checklist_files
from radfuse.report.cohort import cohort
from radfuse.report.comparisons import comparisons
from radfuse.report.controls import controls
from radfuse.report.curves import curves
from radfuse.report.explained import explanations
from radfuse.report.external import external
from radfuse.report.features import features
from radfuse.report.fused import fused
from radfuse.report.methods import methods, methods_file
from radfuse.report.overlays import overlays
from radfuse.report.provenance import provenance
from radfuse.report.section import Block, Fold, Picture, Section
from radfuse.report.selection import selection
from radfuse.report.shared import shared
from radfuse.report.sites import sites
from radfuse.report.stated import stated


def compose(study: Study, title: str, examples: int, resamples: int, seed: int) -> tuple[str, dict[str, bytes]]:
    """Give the page, and the charts and texts that are also kept beside it."""
    paragraph, known = methods(study), stated(study)
    has_images = "align" in study.config or not study.config  # a feature table of one's own knows of none
    sections = [
        answer(study),
        cohort(study),
        *(section(study, examples) for section in (alignment, fused, overlays) if has_images),
        features(study),
        batches(study),
        curves(study, resamples, seed),
        comparisons(study),
        calibration(study),
        arms(study),
        *explanations(study),
        *selection(study),
        *sites(study),
        *external(study),
        controls(study),
        shared(study),
        failures(study),
        provenance(study, paragraph, known),
    ]
    kept = {picture.name: picture.content for picture in _pictures(sections) if picture.kept}
    if study.config:
        kept |= {"methods.md": methods_file(*paragraph), **checklist_files(known)}
    return _html(title, study, sections), kept


BACKTICKED = re.compile(r"`([^`]+)`")


def _html(title: str, study: Study, sections: Sequence[Section]) -> str:
    import jinja2
    from markupsafe import Markup, escape

    folder = files("radfuse.report")
    style = (folder / "page.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    # Commands and settings stand between backticks, in text that has been escaped.
    environment.filters["code"] = lambda text: Markup(BACKTICKED.sub(r"<code>\1</code>", str(escape(text))))
    template = environment.from_string((folder / "page.html").read_text(encoding="utf-8"))
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    version = study.environment.get("radfuse", "")
    # The style sheet is ours; everything else on the page is escaped.
    return template.render(title=title, sections=sections, style=Markup(style), allowed=allowed, version=version)


def _pictures(sections: Sequence[Section]) -> list[Picture]:
    found: list[Picture] = []

    def collect(blocks: Sequence[Block]) -> None:
        for block in blocks:
            if isinstance(block, Picture):
                found.append(block)
            elif isinstance(block, Fold):
                collect(block.blocks)

    for section in sections:
        collect(section.blocks)
    return found
