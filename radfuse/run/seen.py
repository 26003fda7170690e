"""What learned from a cohort's own images, weights or intensity scales, must not be judged on that cohort."""

from radfuse.config import Config
from radfuse.errors import ConfigError
from radfuse.fuse.networks.weights import images_seen
from radfuse.run.session import Session
from radfuse.run.store import file_digest


def scales_learned(config: Config) -> dict[str, frozenset[str]]:
    """Give the intensity scales that were learned from images, by where they stand: SHA-256 of those images."""
    found = {
        f"align.intensity.{modality}: {step.method}": step.looked_at()
        for modality, steps in config.align.intensity.items()
        for step in steps
    }
    return {place: images for place, images in found.items() if images}


def refuse_seen(session: Session) -> None:
    """Refuse to judge images whose scale was learned, or whose fusion network was trained, on images of this cohort.

    Weights and landmarks carry the SHA-256 of every image that they learned from; they are compared with the cohort's
    scans and with the aligned images of this run.
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
