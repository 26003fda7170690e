"""Fuse single images, without a study: two or more pictures, or two or more volumes on one grid."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

import radfuse
from radfuse.config import set_override
from radfuse.data.colour import lightness, with_lightness
from radfuse.data.geometry import Geometry
from radfuse.data.modality import unit_of
from radfuse.data.reading.images import SUFFIXES as VOLUMES
from radfuse.data.reading.images import read_volume, write_volume
from radfuse.data.reading.pictures import Picture, is_picture, read_picture, write_picture
from radfuse.data.subject import Subject
from radfuse.data.volume import Volume
from radfuse.errors import ConfigError, DataError
from radfuse.fuse import FusionMethod
from radfuse.fuse.normalisation import DEFAULTS, Spread, Window, normalisation_for
from radfuse.fuse.pictures import PictureFusion
from radfuse.fuse.stage import Fuse
from radfuse.run.store import file_digest, write_text

DEFAULT_METHOD = "mdafuse"

COLOURED = "NM"
"""What a coloured picture is called unless it is named: nuclear medicine, so that it counts as the functional one."""

# A picture is in [0, 1] already.
AS_IT_IS = Window(low=0.0, high=1.0)


@dataclass(frozen=True)
class Request:
    """Which images to fuse, and how.

    Parameters
    ----------
    images : two or more pictures, or two or more volumes.
    output : a name ending in .png for pictures, in .nii.gz, .nii, .nrrd or .mha for volumes.
    method : how to fuse volumes or the luma of pictures; or how to lay a grey picture under a coloured one.
    modalities : of the images, in their order; a volume's tells its unit and window. Empty: image1, image2, ...
    windows : by modality, the window of a volume's values that becomes [0, 1].
    bits : of each channel of a picture that is written.
    """

    images: Sequence[Path]
    output: Path
    method: FusionMethod | PictureFusion
    modalities: Sequence[str] = ()
    windows: Mapping[str, Window] = field(default_factory=dict)
    bits: int = 8

    def __post_init__(self) -> None:
        if len(self.images) < 2:
            raise ConfigError(f"fusing needs two or more images, found {len(self.images)}", hint="Repeat --image.")
        if self.modalities and len(self.modalities) != len(self.images):
            raise ConfigError(
                f"modalities are named: {len(self.modalities)}, and images: {len(self.images)}; expected as many",
                hint="Repeat --modality, once for each --image, in the same order.",
            )
        twice = sorted({name for name in self.modalities if list(self.modalities).count(name) > 1})
        if twice:
            raise ConfigError(f"{', '.join(twice)} names two images", hint="Tell them apart: PET_early and PET_late.")
        if self.output.resolve() in {image.resolve() for image in self.images}:
            raise ConfigError(f"{self.output} is one of the images to be fused", hint="Give another name to write.")
        suffixes = (".png",) if self.pictures else VOLUMES
        if not self.output.name.lower().endswith(suffixes):
            kind = "a fused picture's" if self.pictures else "a fused volume's"
            raise ConfigError(f"{kind} name ends in {', '.join(suffixes)}; found {self.output}")
        self._refuse_what_is_for_the_other_kind()

    def _refuse_what_is_for_the_other_kind(self) -> None:
        if self.pictures and self.windows:
            raise ConfigError("--window is for volumes: in a picture black is 0 and white is 1")
        if not self.pictures and isinstance(self.method, PictureFusion):
            raise ConfigError(
                "--colour-method is for pictures", hint="`radfuse view` shows a study's volumes in colour."
            )
        if self.bits not in (8, 16):
            raise ConfigError(f"a picture has 8 or 16 bits in each channel, found --bits {self.bits}")
        if not self.pictures and self.bits != 8:
            raise ConfigError("--bits is for pictures; fused volumes are written as float32")
        strange = sorted(set(self.windows) - set(self.modalities))
        if strange:
            named = ", ".join(self.modalities) or "none"
            raise ConfigError(
                f"--window is given for {', '.join(strange)}; modalities named: {named}",
                hint="Name the images with --modality, once for each --image.",
            )

    @classmethod
    def of(
        cls,
        images: Sequence[Path],
        output: Path,
        modalities: Sequence[str],
        method: str | None,
        colour_method: str | None,
        overrides: Sequence[str],
        windows: Mapping[str, Window],
        bits: int,
    ) -> Request:
        """Make a request of what a command line holds: methods by name, with ``key=value`` settings."""
        if method is not None and colour_method is not None:
            raise ConfigError("--method and --colour-method exclude each other", hint="Give one of them, or none.")
        settings: dict[str, Any] = {"method": colour_method or method or DEFAULT_METHOD}
        for override in overrides:
            set_override(settings, override)
        try:
            made = FusionMethod.choose(settings) if colour_method is None else PictureFusion.choose(settings)
        except ValueError as error:
            raise ConfigError(
                f"the fusion method cannot be used: {error}", hint="`radfuse list --settings` shows every method."
            ) from error
        return cls(images, output, made, modalities, windows, bits)

    @property
    def pictures(self) -> bool:
        """Whether the images are pictures and not volumes; a mixture is refused."""
        found = {is_picture(image) for image in self.images}
        if len(found) > 1:
            raise ConfigError(
                f"pictures and volumes cannot be fused with each other: {', '.join(map(str, self.images))}",
                hint="Give two or more pictures, or two or more volumes on one grid.",
            )
        return found.pop()

    @property
    def record_path(self) -> Path:
        """Where the record lies."""
        return record_beside(self.output)

    def names(self, coloured: int | None = None) -> list[str]:
        """What the images are called."""
        if self.modalities:
            return list(self.modalities)
        return [COLOURED if k == coloured else f"image{k + 1}" for k in range(len(self.images))]


def record_beside(fused: Path) -> Path:
    """Give the place of the record of a fused file: its whole name with ``.fusion.json``.

    A file ``sub-01_fused.json`` beside ``sub-01_fused.nii.gz`` belongs to whoever made it (BIDS, dcm2niix).

    Examples
    --------
    >>> record_beside(Path("F.nii.gz")).name, record_beside(Path("F.png")).name
    ('F.nii.gz.fusion.json', 'F.png.fusion.json')
    """
    return fused.with_name(fused.name + ".fusion.json")


def fuse_images(request: Request, device: str) -> dict[str, Any]:
    """Fuse, write the result, and a JSON record beside it that says what it was made from and how.

    Parameters
    ----------
    request : what to do.
    device : ``cpu`` or ``cuda``.
    """
    fuse = _fuse_pictures if request.pictures else _fuse_volumes
    made = fuse(request, device)
    record = {"radfuse": radfuse.__version__, "output": request.output.name, **made}
    write_text(request.record_path, json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n")
    return record


def scales(request: Request, record: Mapping[str, Any]) -> list[str]:
    """Say what became 0 and 1 of volumes that were scaled by their own spread; nothing of pictures.

    Parameters
    ----------
    record : of `fuse_images`.
    """
    if request.pictures:
        return []
    lines = []
    for each in record["inputs"]:
        name, scale = each["modality"], record["normalisation"][each["modality"]]
        if isinstance(normalisation_for(name, {**DEFAULTS, **request.windows}), Spread):
            low, high = scale["low"], scale["low"] + scale["width"]
            lines.append(f"{name} ({each['file']}): {low:g} became 0 and {high:g} became 1, by its own spread")
    if lines and not request.modalities:
        lines.append("name them by --modality (CT, PET, MR_T1, ...): CT and PET have fixed windows")
    return lines


def parse_window(text: str) -> tuple[str, Window]:
    """Read ``CT=-160:240``.

    Examples
    --------
    >>> name, window = parse_window("CT=-160:240")
    >>> name, window.low, window.high
    ('CT', -160.0, 240.0)
    """
    name, equals, ends = text.partition("=")
    low, colon, high = ends.partition(":")
    try:
        if not (name and equals and colon):
            raise ValueError("no NAME=LOW:HIGH")
        return name, Window(low=float(low), high=float(high))
    except ValueError as error:
        raise ConfigError(
            f"--window {text!r}: expected NAME=LOW:HIGH with LOW below HIGH", hint="For example --window CT=-160:240."
        ) from error


def _fuse_volumes(request: Request, device: str) -> dict[str, Any]:
    names = request.names()
    paths = dict(zip(names, request.images, strict=True))
    volumes = {name: read_volume(path, name, unit_of(name)) for name, path in paths.items()}
    method = cast(FusionMethod, request.method)
    fused, settings = _fuse(method, volumes, {**DEFAULTS, **request.windows}, device)
    if method.on_source_scale:
        settings["inverse"] = "value in a source's unit = fused * width + low"
    write_volume(request.output, fused)
    return {"inputs": _inputs(request, names), **settings, "unit": "fused", "range": _range(fused.array)}


def _fuse_pictures(request: Request, device: str) -> dict[str, Any]:
    pictures = [read_picture(path) for path in request.images]
    _same_size(request.images, pictures)
    coloured = [k for k, picture in enumerate(pictures) if picture.ndim == 3]
    if len(coloured) > 1:
        raise DataError(
            f"{len(coloured)} pictures are in colour, expected one at most: "
            + ", ".join(str(request.images[k]) for k in coloured),
            hint="Convert all but one to grey.",
        )
    place = coloured[0] if coloured else None
    names = request.names(place)
    if isinstance(request.method, PictureFusion):
        fused, settings = _substitute(request.method, pictures, place)
    else:
        fused, settings = _fuse_luma(request.method, names, pictures, place, device)
    clipped = write_picture(request.output, fused, 8 if request.bits == 8 else 16)
    written = {"range": _range(fused), "clipped": clipped, "bits": request.bits, "for": "display only"}
    return {"inputs": _inputs(request, names), **settings, **written}


def _substitute(
    method: PictureFusion, pictures: Sequence[Picture], coloured: int | None
) -> tuple[Picture, dict[str, Any]]:
    if len(pictures) != 2 or coloured is None:
        raise DataError(
            f"--colour-method {method.method} takes one grey picture and one in colour, found "
            f"{len(pictures) - (coloured is not None)} grey and {int(coloured is not None)} in colour",
            hint="Without it, grey pictures and more than two are fused by --method.",
        )
    fused = method.build()(pictures[1 - coloured], pictures[coloured])
    return fused, {"colour_method": method.model_dump(mode="json")}


def _fuse_luma(
    method: FusionMethod, names: Sequence[str], pictures: Sequence[Picture], coloured: int | None, device: str
) -> tuple[Picture, dict[str, Any]]:
    """Fuse grey and luma as volumes of one slice; then put the chroma of the coloured picture back."""
    height, width = pictures[0].shape[:2]
    grid = Geometry((width, height, 1), (1.0, 1.0, 1.0))
    volumes = {}
    for name, picture in zip(names, pictures, strict=True):
        grey = lightness(picture) if picture.ndim == 3 else picture
        volumes[name] = Volume(np.array(grey[None]), grid, name, "a.u.")
    found, settings = _fuse(method, volumes, {**DEFAULTS, **dict.fromkeys(names, AS_IT_IS)}, device)
    fused: Picture = found.array[0]
    if coloured is None:
        return fused, settings
    outside = int(((fused < 0) | (fused > 1)).sum())
    colour = {"colour": "chroma of " + names[coloured] + " on the fused luma, YCbCr of BT.601", "luma_outside": outside}
    return with_lightness(pictures[coloured], fused), settings | colour


def _fuse(
    method: FusionMethod, volumes: Mapping[str, Volume], windows: Mapping[str, Window | Spread], device: str
) -> tuple[Volume, dict[str, Any]]:
    stage = Fuse(methods=(method,), inputs=(tuple(volumes),), normalisation=dict(windows))
    subject = stage(Subject("images", volumes), device)
    findings = subject.findings[stage.name]
    ((name, made),) = findings["fused"].items()
    return subject.volumes[name], {
        "method": made["settings"],
        "normalisation": findings["normalisation"],
    }


def _inputs(request: Request, names: Sequence[str]) -> list[dict[str, str]]:
    return [
        {"modality": name, "file": path.name, "sha256": file_digest(path)}
        for name, path in zip(names, request.images, strict=True)
    ]


def _range(array: Any) -> list[float]:
    return [float(array.min()), float(array.max())]


def _same_size(paths: Sequence[Path], pictures: Sequence[Picture]) -> None:
    sizes = {path: picture.shape[:2] for path, picture in zip(paths, pictures, strict=True)}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{path} has {width} x {height} pixels" for path, (height, width) in sizes.items())
        raise DataError(
            f"the pictures differ in size: {told}", hint="Bring them onto one grid first; fusing never resamples."
        )
