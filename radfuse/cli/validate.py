"""`radfuse validate`."""

import json

import typer

from radfuse.cli.options import StudyOptions, study_command


@study_command
def validate(options: StudyOptions) -> None:
    """List everything wrong with the config, the manifest, the tables and the image headers; compute nothing."""
    from radfuse.run.validate import problems_of

    config = options.read_config()
    problems = problems_of(config)
    if options.as_json:
        typer.echo(json.dumps([vars(problem) for problem in problems], indent=1))
    else:
        for problem in problems:
            out = "leaves the subject out" if problem.subject else "nobody is left out for it"
            typer.echo(f"{problem.subject or 'cohort'}: {problem.what} [{'stops the study' if problem.fatal else out}]")
            if problem.hint:
                typer.echo(f"  {problem.hint}")
        typer.echo(f"{len(problems)} problem{'' if len(problems) == 1 else 's'} found" if problems else "all is well")
    if any(problem.fatal for problem in problems):
        raise typer.Exit(2)
    if any(problem.subject for problem in problems):
        raise typer.Exit(1)
