"""Weights that learned from a cohort's own images must not be judged on that cohort."""

from radfuse.errors import ConfigError
from radfuse.fuse.networks.weights import images_seen
from radfuse.run.session import Session
from radfuse.run.store import file_digest


def refuse_seen(session: Session) -> None:
    """Refuse to judge fused images whose network was trained on images of this cohort.

    The weights carry the SHA-256 of every image that their training looked at; they are compared with the cohort's
    scans and with the aligned images of this run.
    """
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
