"""`radfuse extract`."""

import json
from collections.abc import Mapping
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
    voxelwise: Annotated[
        bool,
        typer.Option("--voxelwise", help="Write maps of a study's main region as NIfTI instead of the table."),
    ] = False,
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
    threads: Annotated[
        int | None, typer.Option(min=1, help="With --voxelwise: threads in each process; default 1.")
    ] = None,
) -> None:
    """Measure every volume with PyRadiomics' features: one row per subject, the same columns for all.

    With --manifest the files are measured as they are, and the numbers equal `pyradiomics -p`; -o names the CSV.
    With --voxelwise each chosen feature becomes a map for each volume of a study, NaN outside of its main region;
    further regions have no maps.
    With --device cuda texture is counted on the GPU, to the same bits, and maps are made there, within 1e-6 of the
    same; how fast is not measured.
    """
    maps_only = {"--feature": feature, "--kernel-radius": kernel_radius, "--whole-kernel": whole_kernel}
    _only_with("--voxelwise", voxelwise, {**maps_only, "--threads": threads})
    if voxelwise:
        from radfuse.cli.voxelwise import make_maps

        _no_maps_with(manifest, method)
        return make_maps(options, feature or [], kernel_radius, whole_kernel, threads or 1)
    _only_with("--manifest", manifest is not None, {"--modality": modality, "--params": params})
    if method is not None:
        options = _with_method(options, method, alone=manifest is not None)
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


def _only_with(door: str, opened: bool, options: Mapping[str, object]) -> None:
    given = [name for name, value in options.items() if value]
    if given and not opened:
        hint = "; a study has its parameters in its config, extract.parameters" if "--params" in given else ""
        raise typer.BadParameter(f"{' and '.join(given)} can only be given with {door}{hint}")


def _no_maps_with(manifest: Path | None, method: str | None) -> None:
    if manifest is not None:
        raise typer.BadParameter(
            "--voxelwise maps the volumes of a study, and --manifest needs no study: make one of these files with "
            "`radfuse init`, run `radfuse align`, then `radfuse extract --voxelwise`"
        )
    if method is not None:
        raise typer.BadParameter("maps are computed in one way, with PyRadiomics' numbers: leave --method out")


def _with_method(options: StudyOptions, method: str, *, alone: bool) -> StudyOptions:
    """Put a method in the place of the config's; settings that it does not know go, and standard error says which."""
    from radfuse.config import load_yaml
    from radfuse.extract.extractor import Extractor

    chosen = f"extract.extractor.method={method}"
    extract = {} if alone else load_yaml(options.config).get("extract")
    known = Extractor.members().get(method)
    if not isinstance(extract, dict) or known is None:
        return replace(options, set_=[*(options.set_ or []), chosen])
    own = extract.get("extractor")
    own = own if isinstance(own, dict) else {"method": own}
    strange = () if own.get("method") == method else [name for name in own if name not in known.model_fields]
    kept = {name: value for name, value in own.items() if name not in strange} | {"method": method}
    before = [f"extract.extractor={json.dumps(kept)}"]
    left_out = [f"extractor.{name}={own[name]}" for name in strange]
    if extract.get("ibsi") is True and method != "ibsi":
        before.append("extract.ibsi=false")
        left_out.append("ibsi=True")
    if left_out:
        typer.echo(f"--method {method} leaves out settings of another method: {', '.join(left_out)}", err=True)
    return replace(options, set_=[*before, *(options.set_ or []), chosen])
