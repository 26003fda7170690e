"""`radfuse init`."""

from pathlib import Path
from typing import Annotated

import typer


def init(
    manifest: Annotated[
        Path,
        typer.Argument(
            help="CSV with one row per image: subject, modality, image, mask; with --from, the study folder to make.",
            metavar="MANIFEST | STUDY",
        ),
    ],
    tables: Annotated[list[Path] | None, typer.Option("--table", help="Table with one row per subject.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Column to predict; default: a guess to be checked.")] = None,
    study: Annotated[
        Path | None, typer.Option("--study", "-o", help="Folder to make; default: the manifest's.")
    ] = None,
    source: Annotated[
        tuple[str, Path] | None,
        typer.Option("--from", help="dicom, bids, nifti or nrrd, and a folder (DICOM: or a zip or tar archive)."),
    ] = None,
    modality: Annotated[
        list[str] | None,
        typer.Option(help="Name series by description: --modality '*t2*fs*=MR_T2FS'; =skip leaves out."),
    ] = None,
    roi: Annotated[
        list[str] | None,
        typer.Option(help="The region: a structure's name or pattern, 'GTV*'; repeat for aliases, best first."),
    ] = None,
    roi_join: Annotated[bool, typer.Option("--roi-join", help="Join all structures that --roi fits.")] = False,
    suv: Annotated[
        str, typer.Option(help="bw, lbm_janma, lbm_james, lbm_james128 or bsa: what PET uptake is divided by.")
    ] = "bw",
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Fraction from which a voxel of a fractional SEG is inside.")
    ] = 0.5,
    keep_ids: Annotated[
        bool,
        typer.Option("--keep-ids", help="Keep PatientID as the subject; only for ids that are pseudonyms already."),
    ] = False,
    keys: Annotated[
        Path | None,
        typer.Option(help="Key file outside the study (subject, patient_id): read when there, and written."),
    ] = None,
    per_study: Annotated[
        bool, typer.Option("--per-study", help="Each DICOM study of a patient is a subject, such as a follow-up.")
    ] = False,
    pattern: Annotated[
        str, typer.Option(help="nifti, nrrd: where images lie, such as '{subject}/{modality}_image.nii.gz'.")
    ] = "",
    mask_pattern: Annotated[str, typer.Option(help="nifti, nrrd: where masks lie, with the same fields.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --from: say what would be made; do nothing.")
    ] = False,
) -> None:
    """Write a commented radfuse.yaml for a manifest, or first make the manifest of a DICOM, BIDS or image folder.

    Patients of a DICOM source become S001, S002, ...: no name, id, date or UID is written.
    """
    from radfuse.cli.importing import Request, bring_in
    from radfuse.run.init import write_study

    given = list(tables or [])
    if source is not None:
        request = Request(
            kind=source[0],
            source=source[1],
            modalities=modality or [],
            rois=roi or [],
            join=roi_join,
            suv=suv,
            threshold=threshold,
            keep_ids=keep_ids,
            keys=keys,
            per_study=per_study,
            pattern=pattern,
            mask_pattern=mask_pattern,
        )
        return bring_in(request, study or manifest, given, outcome, dry_run=dry_run)
    path = write_study(manifest, given, outcome, study or manifest.resolve().parent)
    typer.echo(f"wrote {path}; look it over, then: cd {path.parent} && radfuse validate && radfuse run")
