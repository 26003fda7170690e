"""`radfuse landmarks`."""

from pathlib import Path
from typing import Annotated

import typer


def landmarks(
    manifest: Annotated[Path, typer.Argument(help="Manifest of patients who are not under test.")],
    modality: Annotated[str, typer.Option("--modality", "-m", help="Which images, such as MR_T1.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="JSON to write; default: MODALITY.json.")
    ] = None,
    over: Annotated[str, typer.Option(help="body, outside (the body without the main region), or a region.")] = "body",
    threshold: Annotated[float, typer.Option(help="Body is brighter than this share of the range.")] = 0.1,
    before: Annotated[list[str] | None, typer.Option(help="A step before, such as n4; may be repeated.")] = None,
    subject: Annotated[list[str] | None, typer.Option("--subject", help="Only this one; may be repeated.")] = None,
) -> None:
    """Learn a standard intensity scale (Nyul's landmarks) for align.intensity from images of other patients."""
    from radfuse.cli.finish import tell_failures
    from radfuse.run.landmarks import learn_landmarks

    made = learn_landmarks(
        manifest,
        modality,
        output or Path(f"{modality}.json"),
        over=over,
        threshold=threshold,
        before=before or (),
        only=subject or (),
        done=lambda name: typer.echo(f"looked at {name}", err=True),
    )
    last = f"{{method: nyul, landmarks: {made.path.resolve()}, sha256: {made.sha256}}}"
    steps = ", ".join([*made.landmarks.before, last])
    typer.echo(f"landmarks of {len(made.subjects)} images: {made.path}")
    typer.echo(f"into radfuse.yaml:  align: {{intensity: {{{modality}: [{steps}]}}}}")
    typer.echo("`radfuse train` refuses it for a cohort that has one of these images")
    tell_failures(list(made.failed))
