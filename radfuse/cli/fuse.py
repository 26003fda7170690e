"""`radfuse fuse`."""

from radfuse.cli.finish import finish, print_plan
from radfuse.cli.options import StudyOptions, study_command


@study_command
def fuse(options: StudyOptions) -> None:
    """Fuse the aligned modalities into volumes of their own."""
    from radfuse.run.study import plan_study

    with options.open() as session:
        if options.dry_run:
            return print_plan(plan_study(session, "fuse"), options)
        session.fuse()
        finish(session, options)
