"""Judge fused images by their sources: of a finished run, or of files named one by one or in a CSV."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from radfuse.config import Config
from radfuse.data.cohort import Problem
from radfuse.data.colour import lightness
from radfuse.data.modality import unit_of
from radfuse.data.reading.images import read_geometry, read_volume
from radfuse.data.reading.pictures import is_picture, read_picture
from radfuse.data.volume import Volume
from radfuse.errors import ConfigError, DataError, GeometryError, RadfuseError, StageError
from radfuse.fuse.normalisation import DEFAULTS, Affine, Window, normalisation_for, normalise
from radfuse.fuse.quality import Convention, Quality, evaluate, metrics_of
from radfuse.fuse.quality.tables import Judged, per_image, per_set
from radfuse.fuse.roles import FUNCTIONAL
from radfuse.run import subjects
from radfuse.run.fuse_images import record_beside
from radfuse.run.progress import Listener, Silent, followed
from radfuse.run.session import Session
from radfuse.run.store import Record, file_digest, write

Array = npt.NDArray[np.floating[Any]]

STAGE = "evaluate"

COLOURED = "NM"
"""What a coloured source is called unless it is named: nuclear medicine, so that QNR knows it as the functional one."""

LUMA = "colour pictures are judged by their luma Y (YCbCr, ITU-R BT.601)"
AS_FILED = (
    "the fused picture is taken as the method gave it; were it stretched when saved, VIF, SSIM, CC, MSE would suffer"
)
PICTURES = "pictures are judged whole, black 0 and white 1, background included; volumes inside the box of the body"


@dataclass(frozen=True)
class Measuring:
    """How to measure.

    Parameters
    ----------
    convention, metrics : as in `evaluate`; checked here, before anything is read.
    modalities : of the sources, in their order; a volume's tells its unit and window. Empty: image1, image2, ...
    windows : by modality, the window of a volume's values that becomes [0, 1].
    coarser : of files, for QNR, how many times wider the functional image's own pixels are than these; a study reads it
        from the headers of its scans.
    """

    convention: Convention = "standard"
    metrics: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    windows: Mapping[str, Window] = field(default_factory=dict)
    coarser: int = 1

    def __post_init__(self) -> None:
        metrics_of(self.convention, self.metrics)
        if self.coarser < 1:
            raise ConfigError(f"--coarser is a number of pixels, 1 or more; found {self.coarser}")
        strange = sorted(set(self.windows) - set(self.modalities))
        if strange:
            raise ConfigError(
                f"--window is given for {', '.join(strange)}; modalities named: {', '.join(self.modalities) or 'none'}",
                hint="Name the sources with --modality, once for each --image.",
            )


@dataclass(frozen=True)
class Triple:
    """A fused image and its sources, as files: all pictures, or all volumes.

    Parameters
    ----------
    fused : the file to judge.
    images : two or more sources.
    name, set : what the row is called, and what it is averaged with.
    ends : the values that black and white of the fused picture stand for, where it was stretched when it was saved.
    """

    fused: Path
    images: tuple[Path, ...]
    name: str
    set: str = "all"
    ends: tuple[float, float] = (0.0, 1.0)

    @property
    def picture(self) -> bool:
        """Whether these are pictures and not volumes; a mixture is refused."""
        kinds = {is_picture(path) for path in (self.fused, *self.images)}
        if len(kinds) > 1:
            raise DataError(
                f"pictures and volumes are mixed: {', '.join(map(str, (self.fused, *self.images)))}",
                hint="Give pictures only, or volumes only.",
            )
        return kinds.pop()


@dataclass(frozen=True, eq=False)
class Judgement:
    """What judging gave.

    Parameters
    ----------
    convention : how it was measured.
    judged : every fused image, in order.
    failed : those that could not be judged, and why.
    notes : what the reader of the numbers should know.
    files : the CSV files written, of images and of means.
    """

    convention: str
    judged: Sequence[Judged]
    failed: Sequence[Problem]
    notes: Sequence[str]
    files: Sequence[Path] = ()

    @property
    def means(self) -> pd.DataFrame:
        """A row per set, as in `per_set`."""
        return per_set(per_image(self.judged))

    def summary(self) -> dict[str, Any]:
        """Give plain JSON values."""
        means = self.means.astype(object) if self.judged else pd.DataFrame()
        return {
            "convention": self.convention,
            "notes": list(self.notes),
            "means": means.where(means.notna(), None).to_dict("records"),
            "images": [{"set": each.set, "name": each.name, **each.quality.record()} for each in self.judged],
            "failures": [{"subject": p.subject, "what": p.what, "hint": p.hint} for p in self.failed],
            "files": [str(path) for path in self.files],
        }


def judge_study(
    config: Config,
    study: Path,
    run: str,
    measuring: Measuring,
    *,
    only: Sequence[str] = (),
    output: Path | None = None,
    listener: Listener | None = None,
) -> Judgement:
    """Judge every fused volume of a run, against the aligned volumes as fusing saw them.

    Parameters
    ----------
    only : subjects; empty is all.
    output : the CSV to write; by default fusion_quality_<convention>.csv in the run's report folder.
    listener : who follows the work.
    """
    if not (study / "runs" / run / "fuse").is_dir():
        raise StageError(f"{study / 'runs' / run} holds no results of fuse", hint="Run `radfuse fuse` first.")
    judged: list[Judged] = []
    failed: list[Problem] = []
    with Session(config, study, run, only=only, listener=listener) as session:
        session.ledger.require(session.ids, [session.config.align, session.config.fuse])
        # Who has no record of fusing failed there, and is in the ledger.
        records = {s: found for s in session.ids if (found := session.ledger.done(session.config.fuse, s)) is not None}
        with followed(session.listener, STAGE, len(records)) as advance:
            for subject, record in records.items():
                wrong = None
                try:
                    judged += list(_judge_subject(session, subject, record, measuring))
                except RadfuseError as error:
                    wrong = error
                    failed.append(_problem(subject, error))
                advance(subject, wrong)
        before = [
            p for p in session.ledger.failures() if p.subject in session.only and not p.what.startswith("extract")
        ]
        target = output or session.store.folder("report") / f"fusion_quality_{measuring.convention}.csv"
        notes = ["sources are the aligned volumes on the scale that fusing used", PICTURES.partition("; ")[2]]
        notes += _resolution(judged, "by their headers")
        return _written(Judgement(measuring.convention, judged, [*before, *failed], notes), target)


def judge_files(
    triples: Sequence[Triple], measuring: Measuring, output: Path | None = None, listener: Listener | None = None
) -> Judgement:
    """Judge fused files. One alone raises what is wrong with it; of several the others go on.

    Parameters
    ----------
    output : the CSV to write; None: none is written.
    listener : who follows the work.
    """
    judged: list[Judged] = []
    failed: list[Problem] = []
    notes: dict[str, None] = {}
    with followed(listener or Silent(), STAGE, len(triples)) as advance:
        for triple in triples:
            wrong = None
            try:
                quality, told = _judge_triple(triple, measuring)
                judged.append(Judged(triple.set, triple.name, quality))
                notes.update(dict.fromkeys(told))
            except RadfuseError as error:
                if len(triples) == 1:
                    raise
                wrong = error
                failed.append(_problem(triple.name, error))
            advance(triple.name, wrong)
    found = Judgement(measuring.convention, judged, failed, [*notes, *_resolution(judged, "--coarser")])
    return found if output is None else _written(found, output)


def read_pairs(path: Path) -> list[Triple]:
    """Read a CSV with the columns a, b, fused; paths start at its own folder.

    Further columns that mean something: name, set, more sources c and d, and low and high, the values that black and
    white of the fused picture stand for (a picture that was stretched when it was saved).
    """
    if not path.is_file():
        raise ConfigError(f"{path} does not exist", hint="Give a CSV with the columns a, b, fused.")
    try:
        table = pd.read_csv(path, dtype=str, encoding="utf-8-sig", keep_default_na=False)
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ConfigError(f"cannot read {path} as a CSV table: {error}") from error
    table.columns = [str(column).strip().lower() for column in table.columns]
    absent = [name for name in ("a", "b", "fused") if name not in table]
    if absent or table.empty:
        wrong = f"has no column {', '.join(absent)}" if absent else "has no rows"
        raise ConfigError(
            f"{path} {wrong}; found columns {', '.join(table.columns)}",
            hint="Expected a, b, fused; and perhaps name, set, and further sources c, d.",
        )
    sources = [name for name in ("a", "b", "c", "d") if name in table]
    triples = []
    for row, record in enumerate(table.to_dict("records"), start=2):
        empty = [name for name in ("a", "b", "fused") if not record[name].strip()]
        if empty:
            raise ConfigError(f"{path}: row {row} has no {', '.join(empty)}")
        images = tuple(path.parent / record[name].strip() for name in sources if record[name].strip())
        fused = path.parent / record["fused"].strip()
        name, group = (str(record.get(column, "")).strip() for column in ("name", "set"))
        triples.append(Triple(fused, images, name or fused.name, group or "all", _ends(path, row, record)))
    return triples


def _ends(path: Path, row: int, record: Mapping[Any, str]) -> tuple[float, float]:
    low, high = record.get("low", "").strip() or "0", record.get("high", "").strip() or "1"
    try:
        ends = float(low), float(high)
    except ValueError:
        ends = (0.0, 0.0)
    if not ends[0] < ends[1]:
        raise ConfigError(f"{path}: row {row} has low {low!r} and high {high!r}; expected numbers, low below high")
    return ends


def _judge_subject(session: Session, subject: str, record: Record, measuring: Measuring) -> Iterator[Judged]:
    aligned = subjects.load_aligned(session.store, subject)
    fused = subjects.load_fused(session.store, aligned)
    maps = record.findings["normalisation"]
    normalised = {
        name: Affine(**affine).apply(aligned.matched.get(name, aligned.volumes[name]).array)
        for name, affine in maps.items()
    }
    for name, made in record.findings["fused"].items():
        try:
            coarser = _coarser(session, subject, made["inputs"], fused.volumes[name])
            shared = aligned.seen_by_all(made["inputs"])
            # A fused volume is 0 where one of its scans is not; what another shows there is no fault of it.
            sources = {
                part: normalised[part] if shared is None else np.where(shared.inside, normalised[part], np.float32(0))
                for part in sorted(made["inputs"])
            }
            quality = evaluate(fused.volumes[name].array, sources, measuring.convention, measuring.metrics, coarser)
        except RadfuseError as error:
            error.add_note(f"while judging {name}")
            raise
        yield Judged(name, subject, quality)


def _coarser(session: Session, subject: str, inputs: Sequence[str], fused: Volume) -> int:
    """How many times wider the functional scan's own pixels are than the grid's."""
    for scan in session.cohort.scans_of(subject):
        if scan.modality in inputs and scan.modality.upper().split("_")[0] in FUNCTIONAL:
            return max(1, round(read_geometry(scan.image).spacing_mm[0] / fused.geometry.spacing_mm[0]))
    return 1


def _judge_triple(triple: Triple, measuring: Measuring) -> tuple[Quality, list[str]]:
    if measuring.modalities and len(measuring.modalities) != len(triple.images):
        raise ConfigError(
            f"modalities are named: {len(measuring.modalities)}, and sources: {len(triple.images)}; expected as many",
            hint="Repeat --modality, once for each source, in the same order.",
        )
    try:
        fused, sources, notes = (_pictures if triple.picture else _volumes)(triple, measuring)
        return evaluate(fused, sources, measuring.convention, measuring.metrics, measuring.coarser), notes
    except RadfuseError as error:
        error.add_note(f"while judging {triple.fused}")
        raise


def _pictures(triple: Triple, measuring: Measuring) -> tuple[Array, dict[str, Array], list[str]]:
    if measuring.windows:
        raise ConfigError("--window is for volumes: in a picture black is 0 and white is 1")
    fused, images = read_picture(triple.fused), [read_picture(path) for path in triple.images]
    coloured = [image.ndim == 3 for image in images]
    names = _names(len(images), measuring, coloured.index(True) if sum(coloured) == 1 else None)
    notes = [PICTURES.partition("; ")[0]]
    if fused.ndim == 3 or any(coloured):
        notes.append(LUMA)
    if measuring.convention == "mdafuse" and triple.ends == (0.0, 1.0):
        notes.append(AS_FILED)
    sources = {name: _luma(image) for name, image in zip(names, images, strict=True)}
    low, high = triple.ends
    return low + (high - low) * _luma(fused).astype(np.float64), sources, notes


def _luma(picture: Array) -> Array:
    return lightness(picture) if picture.ndim == 3 else picture


def _volumes(triple: Triple, measuring: Measuring) -> tuple[Array, dict[str, Array], list[str]]:
    fused = read_volume(triple.fused, "fused", "fused")
    found = None if measuring.modalities else _recorded(triple)
    names = list(found) if found else _names(len(triple.images), measuring, None)
    sources: dict[str, Array] = {}
    for name, path in zip(names, triple.images, strict=True):
        volume = read_volume(path, name, unit_of(name))
        if not fused.geometry.matches(volume.geometry):
            raise GeometryError(
                f"{path} is not on the grid of {triple.fused}: {fused.geometry.differences(volume.geometry)}",
                hint="Judge a fused image on the grid of its sources; nothing is resampled here.",
            )
        if found:
            sources[name] = found[name].apply(volume.array)
        else:
            windows = {**DEFAULTS, **measuring.windows}
            sources[name], _ = normalise(volume, normalisation_for(name, windows))
    scale = (
        "sources are on the scale recorded beside the fused volume"
        if found
        else "sources are scaled as `radfuse fuse` would: CT and PET by their windows, others by their own spread; "
        "name them with --modality"
    )
    return fused.array, sources, [scale, PICTURES.partition("; ")[2]]


def _recorded(triple: Triple) -> dict[str, Affine] | None:
    """The scales of these sources, in their order, from the record that `radfuse fuse --image` writes; None without."""
    try:
        record = json.loads(record_beside(triple.fused).read_text(encoding="utf-8"))
        modalities = {each["sha256"]: each["modality"] for each in record["inputs"]}
        names = [modalities[file_digest(image)] for image in triple.images]
        return {name: Affine(**record["normalisation"][name]) for name in names}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _resolution(judged: Sequence[Judged], told_by: str) -> list[str]:
    """Say what QNR was measured with, where it was."""
    used = sorted({each.quality.coarser for each in judged if each.quality.coarser is not None})
    times = f"{used[0]} to {used[-1]}" if len(used) > 1 else "".join(map(str, used))
    return [f"QNR takes the functional image's own pixels to be {times} x as wide as these ({told_by})"] if used else []


def _names(count: int, measuring: Measuring, coloured: int | None) -> list[str]:
    return list(measuring.modalities) or [COLOURED if k == coloured else f"image{k + 1}" for k in range(count)]


def _written(found: Judgement, target: Path) -> Judgement:
    """Write a CSV of images and, beside it, one of means."""
    if not found.judged:
        return found
    table, beside = per_image(found.judged), target.with_name(f"{target.stem}_means{target.suffix}")
    write(target, lambda path: table.to_csv(path, index=False))
    write(beside, lambda path: per_set(table).to_csv(path, index=False))
    return Judgement(found.convention, found.judged, found.failed, found.notes, (target, beside))


def _problem(subject: str, error: RadfuseError) -> Problem:
    notes = "; ".join(getattr(error, "__notes__", []))
    return Problem(subject, f"evaluate: {error.message}" + (f" ({notes})" if notes else ""), error.hint, fatal=False)
