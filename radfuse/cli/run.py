"""`radfuse run`."""

from radfuse.cli.finish import finish, print_plan
from radfuse.cli.options import StudyOptions, study_command
from radfuse.cli.regions import warn_of_regions
from radfuse.cli.settings import warn_of_settings


@study_command
def run(options: StudyOptions) -> None:
    """Run every stage, from the scans to compared AUCs and the report."""
    from radfuse.run.study import foresee_study, plan_study, run_study

    with options.open() as session:
        if options.dry_run:
            return print_plan(plan_study(session, "align", "fuse", "extract", "stability", "train"), options)
        warn_of_settings(session.config)
        warn_of_regions(foresee_study(session))
        finish(session, options, judged=run_study(session))
