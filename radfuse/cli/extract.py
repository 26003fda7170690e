"""`radfuse extract`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from radfuse.cli.finish import finish, print_plan, tell_failures
from radfuse.cli.options import StudyOptions, listener_for, study_command


@study_command
def extract(
    options: StudyOptions,
    manifest: Annotated[Path | None, typer.Option(help="A manifest of your own, instead of a study.")] = None,
    modality: Annotated[list[str] | None, typer.Option(help="With --manifest: only this modality.")] = None,
    params: Annotated[
        list[str] | None, typer.Option("--params", "-p", help="PyRadiomics YAML, for all or as MODALITY=FILE.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="What computes: `fast` or `pyradiomics`, whose numbers agree, or `ibsi`.", metavar="METHOD"),
    ] = None,
    voxelwise: Annotated[bool, typer.Option("--voxelwise", help="Write maps as NIfTI instead of the table.")] = False,
    feature: Annotated[
        list[str] | None,
        typer.Option(help="With --voxelwise: a name or pattern, such as 'original_glcm_*'; may be repeated."),
    ] = None,
    kernel_radius: Annotated[
        int | None, typer.Option(min=1, help="With --voxelwise: voxels on each side of the middle one; default 1.")
    ] = None,
    whole_kernel: Annotated[
        bool, typer.Option("--whole-kernel", help="With --voxelwise: voxels outside of the region count too.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="With --voxelwise: threads in each process.")] = 1,
) -> None:
    """Measure every volume with PyRadiomics' features: one row per subject, the same columns for all.

    With --manifest the files are measured as they are, and the numbers equal `pyradiomics -p`; -o names the CSV.
    With --voxelwise each chosen feature becomes a map for each volume, NaN outside of the region.
    With --device cuda texture is counted on the GPU, to the same bits, and maps are made there, within 1e-6 of the
    same; how fast is not measured.
    """
    if voxelwise or feature or kernel_radius or whole_kernel:
        from radfuse.cli.voxelwise import make_maps

        if not voxelwise or manifest is not None or method is not None:
            raise typer.BadParameter(
                "--feature, --kernel-radius and --whole-kernel go with --voxelwise, and --manifest and --method do not"
            )
        return make_maps(options, feature or [], kernel_radius, whole_kernel, threads)
    if method is not None:
        options = replace(options, set_=[*(options.set_ or []), f"extract.extractor.method={method}"])
    if manifest is not None:
        options.on_a_table("--manifest")
        from radfuse.run.tables import extract_table

        target = options.study or Path("features.csv")
        choice = (options.subject or [], modality or [])
        problems = extract_table(manifest, choice, params or [], options.overrides, target, listener_for(options))
        typer.echo(f"features in {target}")
        return tell_failures(problems)
    from radfuse.run.study import plan_study

    with options.open() as session:
        if options.dry_run:
            return print_plan(plan_study(session, "extract"), options)
        session.extract()
        finish(session, options)
