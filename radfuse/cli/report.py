"""`radfuse report`."""

import typer

from radfuse.cli.finish import tell_failures
from radfuse.cli.options import StudyOptions, study_command


@study_command
def report(options: StudyOptions) -> None:
    """Write the study's page: one self-contained HTML file."""
    from radfuse.run.study import report_study

    if options.dry_run:
        return typer.echo("report: works on the whole table at once, in seconds; nothing to plan")
    with options.open() as session:
        typer.echo(f"report: {report_study(session)}")
        if not (session.store.folder("report") / "judged.json").is_file():
            typer.echo("no arm is trained yet, so the page compares nothing: run `radfuse train`")
        tell_failures(session.failures())
