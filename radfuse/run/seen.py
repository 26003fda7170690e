"""What learned from a cohort's own images, weights or intensity scales, must not be judged on that cohort."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from radfuse.config import Config
from radfuse.errors import ConfigError
from radfuse.fuse.networks.weights import images_seen
from radfuse.run.session import Session
from radfuse.run.store import file_digest
from radfuse.run.subjects import CONTENTS, SCANS


def declared(images: Mapping[Path, str]) -> frozenset[str]:
    """Give what has to be declared of images that something learns from: their SHA-256, and those of the scans behind.

    An aligned image is another file in every run; the scans behind it are the same, so every run of their cohort
    recognises them.

    Parameters
    ----------
    images : SHA-256 by file.
    """
    behind = {image: scans_behind(image) for image in images}
    unknown = sorted({str(image.parent) for image, scans in behind.items() if scans is None})
    if unknown:
        raise ConfigError(
            f"{unknown[0]}{f' and {len(unknown) - 1} more' if len(unknown) > 1 else ''} came of an earlier radfuse and "
            "does not say of which scans; other runs of that study would not know that they were learned from",
            hint="Run `radfuse align --redo` in that study: the images stay the same.",
        )
    return frozenset(images.values()).union(*(scans for scans in behind.values() if scans is not None))


def scans_behind(image: Path) -> frozenset[str] | None:
    """Give the SHA-256 of the scans that an image of a run was made from; empty for one that lies in no run.

    None: it lies in a run, or beside what align wrote, and nothing there says from which scans.
    """
    folder = image.resolve().parent
    # Every stage of a run keeps what it made of somebody in a folder of that name, `<run>/<stage>/<subject>`.
    owners = [own for own in (folder, *folder.parents) if len(own.parents) > 1]
    places = [folder / CONTENTS, *(own.parents[1] / "align" / own.name / CONTENTS for own in owners)]
    found = [contents for place in places if (contents := _contents(place))]
    scans = frozenset[str]().union(*(contents.get(SCANS, {}).values() for contents in found))
    return scans if scans or not found else None


def _contents(place: Path) -> dict[str, Any]:
    """Read what a folder of a run says of itself; empty for whatever else may have that name."""
    try:
        contents = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return contents if isinstance(contents, dict) and "units" in contents else {}


def scales_learned(config: Config) -> dict[str, frozenset[str]]:
    """Give the intensity scales that were learned from images, by where they stand: SHA-256 of those images.

    A template may be an aligned image of a run; the scans behind it count, too.
    """
    found = {
        f"align.intensity.{modality}: {step.method}": step.looked_at()
        | ((scans_behind(Path(getattr(step, step.reads))) or frozenset()) if step.reads else frozenset())
        for modality, steps in config.align.intensity.items()
        for step in steps
    }
    return {place: images for place, images in found.items() if images}


def refuse_seen(session: Session) -> None:
    """Refuse to judge images whose scale was learned, or whose fusion network was trained, on images of this cohort.

    Weights and landmarks carry the SHA-256 of every image that they learned from, and of the scans behind it where it
    was an image of a run (see `declared`); they are compared with the cohort's scans and with the aligned images of
    this run, by which files made before that are known.
    """
    for place, images in scales_learned(session.config).items():
        seen = sorted(subject for subject in session.ids if images & _images(session, subject))
        if seen:
            some = ", ".join(seen[:3]) + (", ..." if len(seen) > 3 else "")
            raise ConfigError(
                f"{place} learned from images of {len(seen)} of this cohort ({some}), each of which is judged in some "
                "fold; an AUC would not be a test",
                hint="Learn the scale from other patients (`radfuse landmarks`, or another template).",
            )
    for method in session.config.fuse.methods if session.ledger.fuses else ():
        images = images_seen(method.trained_weights) if method.trained_weights else frozenset()
        seen = sorted(subject for subject in session.ids if images and images & _images(session, subject))
        if seen:
            some = ", ".join(seen[:3]) + (", ..." if len(seen) > 3 else "")
            raise ConfigError(
                f"the weights of {method.title} learned from images of {len(seen)} of this cohort ({some}); "
                "an AUC of its images would not be a test",
                hint="Use `weights: shipped` or weights trained on other patients, or take the method out of "
                "fuse.methods before training; fusing and looking are fine.",
            )


def _images(session: Session, subject: str) -> set[str]:
    scans = {file_digest(scan.image) for scan in session.cohort.scans_of(subject) if scan.image.is_file()}
    aligned = session.ledger.done(session.config.align, subject)
    return scans | set(aligned.files.values() if aligned is not None else ())
