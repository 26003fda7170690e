"""`radfuse extract --voxelwise`."""

import json
from collections.abc import Sequence

import typer

from radfuse.cli.finish import as_json, tell_failures
from radfuse.cli.options import StudyOptions


def make_maps(
    options: StudyOptions, features: Sequence[str], radius: int | None, whole_kernel: bool, threads: int
) -> None:
    """Say how many maps there will be and how large, make them, and leave with 1 when subjects failed.

    Parameters
    ----------
    features : names and patterns; none is the default choice.
    radius : of the neighbourhood; None is what the parameters say.
    whole_kernel : whether voxels outside of the region count.
    threads : in each process.
    """
    from radfuse.extract.voxelwise.stage import DEFAULT_FEATURES, Voxelwise
    from radfuse.run.voxelwise import map_study, plan_maps

    with options.open() as session:
        stage = Voxelwise(
            parameters=session.config.extract.parameters,
            features=tuple(features) or DEFAULT_FEATURES,
            kernel_radius=radius,
            masked=False if whole_kernel else None,
        )
        plan = plan_maps(session, stage, threads)
        if options.dry_run and options.as_json:
            done = {"reuse": len(plan.standing), "redo": len(plan.tasks)}
            return typer.echo(json.dumps({"plan": {stage.name: done | {"maps": plan.files, "bytes": plan.bytes}}}))
        typer.echo(str(plan), err=options.as_json)
        if options.dry_run:
            return None
        map_study(session, plan)
        place, failures = session.store.folder(stage.name), session.failures()
    if options.as_json:
        typer.echo(json.dumps({"maps": str(place), "failures": as_json(failures)}, indent=1))
    else:
        typer.echo(f"maps in {place}")
    return tell_failures(failures)
