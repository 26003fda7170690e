"""`radfuse fuse`."""

from radfuse.cli.finish import finish
from radfuse.cli.options import StudyOptions, study_command


@study_command
def fuse(options: StudyOptions) -> None:
    """Fuse the aligned modalities into volumes of their own."""
    with options.open() as session:
        if options.dry_run:
            return finish(session, options, plan=["fuse"])
        session.fuse()
        finish(session, options)
