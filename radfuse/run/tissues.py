"""Outlines that an outside tool draws, such as a brain's: one run of the tool for each scan."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from radfuse.align.grid import fit_to_image
from radfuse.align.stage import Align
from radfuse.align.tissues import IMAGE, Tissue
from radfuse.data.reading.images import read_label_map, write_mask, write_volume
from radfuse.data.subject import Subject
from radfuse.data.volume import Volume
from radfuse.errors import ConfigError, RadfuseError, StageError
from radfuse.run.store import digest

STAGE, VERSION = "tissues", 1
MASK = "outline.mask.nii.gz"
LIMIT_S = 3600.0
SAID = 400  # characters of what a tool said last that an error shows


def require_tools(align: Align) -> None:
    """Raise one ConfigError where a tool that draws a tissue is not installed."""
    lacking = {
        name: program
        for name, tissue in align.tissues.items()
        if tissue.of == "tool" and shutil.which(program := tissue.arguments(image="", mask="", folder="")[0]) is None
    }
    if lacking:
        told = ", ".join(f"{program!r} (align.tissues.{name})" for name, program in lacking.items())
        raise ConfigError(
            f"not found among the programs of this machine: {told}",
            hint="Install it, give its whole path, or draw the tissue in the manifest's column `region`.",
        )


def asked(align: Align, subject: Subject) -> dict[str, str]:
    """Give the tissues that a tool has to draw for a subject, and the scan that each is drawn on."""
    due = {name: each for name, each in align.tissues.items() if each.of == "tool" and not subject.regions.get(name)}
    scans = {name: each.modality or align.reference or next(iter(subject.volumes)) for name, each in due.items()}
    return {name: scan for name, scan in scans.items() if scan in subject.volumes}


def tool_key(tissue: Tissue, image_sha256: str) -> str:
    """Hash what an outline depends on: how the tool is called, its release, and the image."""
    return digest(STAGE, VERSION, tissue.command, tissue.result, tissue.release, image_sha256)


def outline(tissue: Tissue, volume: Volume, output: Path) -> tuple[list[str], Mapping[str, Any]]:
    """Run the tool on a scan and keep its mask, 1 where it is not zero; give the file's name and what was found.

    The tool sees voxels and their place in a folder that is taken away afterwards: no name, no header's text.

    Raises
    ------
    StageError : the tool failed, took over an hour, or left no mask on the image's grid; the next run tries again.
    """
    with tempfile.TemporaryDirectory(prefix="radfuse-") as folder:
        image, result = Path(folder) / IMAGE, Path(folder) / tissue.result
        write_volume(image, volume)
        command = tissue.arguments(image=str(image), mask=str(result), folder=folder)
        _run(command, folder)
        if not result.is_file():
            there = ", ".join(sorted(path.name for path in Path(folder).iterdir() if path != image)) or "nothing"
            raise _failed(command, f"it left no {tissue.result}; there is {there}")
        try:
            mask, _ = fit_to_image(read_label_map(result).of(()), volume.geometry, command[0])
        except RadfuseError as error:
            raise _failed(command, error.message) from error
    if not mask.voxels:
        raise _failed(command, "its mask is empty")
    write_mask(output / MASK, mask)
    return [MASK], {"program": Path(command[0]).name, "volume_ml": mask.volume_ml}


def _run(command: list[str], folder: str) -> None:
    # The tool starts in another folder, where a path relative to this one leads nowhere.
    program = Path(shutil.which(command[0]) or command[0]).absolute()
    try:
        done = subprocess.run(
            [str(program), *command[1:]],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _failed(command, f"it took more than {LIMIT_S:g} s") from error
    except OSError as error:
        raise _failed(command, str(error.strerror)) from error
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().replace(folder, ".")
        raise _failed(command, f"exit code {done.returncode}: {said[-SAID:]}")


def _failed(command: list[str], why: str) -> StageError:
    return StageError(
        f"{Path(command[0]).name} drew no outline: {why}",
        hint="Try align.tissues.*.command by hand on one image; or draw the tissue in the manifest's column `region`.",
    )
