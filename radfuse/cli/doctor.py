"""`radfuse doctor`."""

import typer


def doctor() -> None:
    """Check this machine: Python, the libraries, a GPU, space, and MLflow."""
    from radfuse.run.doctor import checks

    findings = checks()
    for finding in findings:
        typer.echo(f"{'ok  ' if finding.well else 'FIX '} {finding.what}" + (f"  {finding.fix}" if finding.fix else ""))
    if not all(finding.well for finding in findings):
        raise typer.Exit(1)
