"""What a NIfTI header promises, held against the file: image readers take less without a word."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from radfuse.errors import DataError

Matrix = npt.NDArray[np.float64]

RGB_TYPES = {128: "RGB", 2304: "RGBA", 32: "complex", 1792: "complex", 2048: "complex"}
UNITS_MM = {0: "unset", 1: "metres", 2: "millimetres", 3: "micrometres"}
LARGEST_BYTES = 16 * 2**30  # a header that declares more is damaged, or meant to fill a disk
BLOCK = 2**20
HEADER_BYTES = 352
FLOATS = {16: "f4", 64: "f8"}

# sform and qform of one scanner agree to rounding; beyond this two programs would see two patients (fault F09).
AGREE_MM = 0.1
AGREE_DEG = 0.1


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """The fields of a NIfTI-1 header that decide where voxels are and how many bytes there must be."""

    dimensions: tuple[int, ...]
    datatype: int
    bits: int
    offset: int
    units: int
    spacing: tuple[float, float, float]
    qform_code: int
    sform_code: int
    qform: Matrix
    sform: Matrix
    order: str

    @property
    def bytes(self) -> int:
        """How long the uncompressed file must be."""
        return self.offset + math.prod(self.dimensions) * self.bits // 8


def check_header(path: Path) -> NiftiHeader:
    """Read a header and refuse what an image reader would guess about."""
    with _open(path) as file:
        header = _parse(path, _read(path, file, HEADER_BYTES))
    _check_kind(path, header)
    _check_space(path, header)
    return header


def check_whole(path: Path, header: NiftiHeader) -> None:
    """Read to the end: a gzip stream then checks its CRC, missing bytes show, and so does what is not finite.

    Numbers that are not finite are counted here, because the NIfTI library under SimpleITK turns them into zeros.
    """
    nan = infinite = 0
    with _open(path) as file:
        found = len(_read(path, file, header.offset))
        while block := _read(path, file, BLOCK):
            found += len(block)
            if found > 1.1 * header.bytes + BLOCK:
                raise DataError(f"{path} goes on beyond {found} bytes, more than its header promises")
            if header.datatype in FLOATS:
                kind = np.dtype(header.order + FLOATS[header.datatype])
                values = np.frombuffer(block, kind, count=len(block) // kind.itemsize)
                if not np.isfinite(values).all():
                    nan += int(np.isnan(values).sum())
                    infinite += int(np.isinf(values).sum())
    if found < header.bytes:
        raise DataError(
            f"{path} is cut short: {found} bytes of {header.bytes} that its header promises",
            hint="Copy or convert the file again.",
        )
    if nan or infinite:
        raise not_finite(path, nan, infinite, math.prod(header.dimensions))


def not_finite(path: Path, nan: int, infinite: int, voxels: int) -> DataError:
    """Say how many voxels are not numbers."""
    return DataError(
        f"{path} has {nan} NaN and {infinite} infinite voxels of {voxels}, expected finite numbers",
        hint="Fill them (air is -1000 HU, no uptake is 0 SUV): one NaN spreads through every filter.",
    )


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _read(path: Path, file: IO[bytes], size: int) -> bytes:
    try:
        return file.read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} is damaged or not a gzip file: {error}", hint="Copy or convert the file again, and check its name."
    )


def _parse(path: Path, raw: bytes) -> NiftiHeader:
    if len(raw) < HEADER_BYTES:
        raise DataError(f"{path} is not a NIfTI image: {len(raw)} bytes, too short for a header")
    for order in "<>":
        (size,) = struct.unpack_from(order + "i", raw)
        if size == 348 and raw[344:347] in (b"n+1", b"ni1"):
            return _first(raw, order)
        if size == 540 and raw[4:7] in (b"n+2", b"ni2"):
            raise DataError(
                f"{path} is NIfTI-2, which SimpleITK does not read; expected NIfTI-1",
                hint="Convert it: nibabel.save(nibabel.Nifti1Image.from_image(nibabel.load(path)), new_path).",
            )
    raise DataError(
        f"{path} is not a NIfTI image: its header starts with {raw[:8]!r}",
        hint="Is it another format, or a web page, under this name?",
    )


def _first(raw: bytes, order: str) -> NiftiHeader:
    dim = struct.unpack_from(order + "8h", raw, 40)
    pixdim = struct.unpack_from(order + "8f", raw, 76)
    datatype, bits = struct.unpack_from(order + "2h", raw, 70)
    (offset,) = struct.unpack_from(order + "f", raw, 108)
    codes = struct.unpack_from(order + "2h", raw, 252)
    quaternion = struct.unpack_from(order + "6f", raw, 256)
    rows = struct.unpack_from(order + "12f", raw, 280)
    return _header(dim, pixdim, datatype, bits, int(offset), raw[123], codes, quaternion, rows, order)


def _header(
    dim: tuple[int, ...],
    pixdim: tuple[float, ...],
    datatype: int,
    bits: int,
    offset: int,
    units: int,
    codes: tuple[int, ...],
    quaternion: tuple[float, ...],
    rows: tuple[float, ...],
    order: str,
) -> NiftiHeader:
    sform = np.vstack([np.asarray(rows, dtype=float).reshape(3, 4), [0, 0, 0, 1]])
    spacing = (abs(pixdim[1]), abs(pixdim[2]), abs(pixdim[3]))
    flip = -1.0 if pixdim[0] < 0 else 1.0
    return NiftiHeader(
        dimensions=tuple(int(n) for n in dim[1 : 1 + max(0, min(dim[0], 7))]),
        datatype=datatype,
        bits=bits,
        offset=offset,
        units=units & 7,
        spacing=spacing,
        qform_code=codes[0],
        sform_code=codes[1],
        qform=_from_quaternion(quaternion, spacing, flip),
        sform=sform,
        order=order,
    )


def _from_quaternion(values: tuple[float, ...], spacing: tuple[float, ...], flip: float) -> Matrix:
    """Build the qform matrix (NIfTI-1 standard, method 2)."""
    b, c, d = values[:3]
    a = math.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * (np.asarray(spacing) * (1.0, 1.0, flip))
    matrix[:3, 3] = values[3:]
    return matrix


def _check_kind(path: Path, header: NiftiHeader) -> None:
    if header.datatype in RGB_TYPES:
        raise DataError(
            f"{path} holds {RGB_TYPES[header.datatype]} voxels, expected one real number each",
            hint="Convert it to a grey-scale image.",
        )
    used = [n for n in header.dimensions[3:] if n > 1]
    if used:
        raise DataError(
            f"{path} has {3 + len(used)} dimensions {header.dimensions}, expected 3",
            hint="Choose one volume, or one component, and save it as a 3-D image.",
        )
    if len(header.dimensions) < 3:
        raise DataError(
            f"{path} is a 2-D image of {header.dimensions} pixels, expected a volume",
            hint="radfuse measures volumes; join the slices into one 3-D image.",
        )
    if min(header.dimensions) < 1 or header.bits < 1 or header.bytes > LARGEST_BYTES:
        raise DataError(f"{path} declares {header.dimensions} voxels of {header.bits} bits: the header is damaged")


def _check_space(path: Path, header: NiftiHeader) -> None:
    if header.units in (1, 3):
        raise DataError(
            f"{path} measures in {UNITS_MM[header.units]}, expected millimetres",
            hint="Rewrite the header in millimetres; programs differ in how they convert.",
        )
    if not all(0.01 <= s <= 100 for s in header.spacing):
        raise DataError(f"{path} has voxels of {header.spacing} mm, expected 0.01 to 100 mm")
    if header.qform_code <= 0 and header.sform_code <= 0:
        raise DataError(
            f"{path} does not say where its voxels are: sform and qform codes are both 0",
            hint="Set the sform; without it programs disagree about left and right.",
        )
    if header.qform_code > 0 and header.sform_code > 0:
        _check_forms(path, header.sform, header.qform)


def _check_forms(path: Path, sform: Matrix, qform: Matrix) -> None:
    axes = [matrix[:3, :3] / np.maximum(np.linalg.norm(matrix[:3, :3], axis=0), 1e-12) for matrix in (sform, qform)]
    # The chord between two unit vectors is twice the sine of half their angle.
    chord = np.linalg.norm(axes[0] - axes[1], axis=0).max()
    angle_deg = math.degrees(2 * math.asin(min(1.0, chord / 2)))
    shift_mm = float(np.linalg.norm(sform[:3, 3] - qform[:3, 3]))
    stretch = np.linalg.norm(sform[:3, :3], axis=0) / np.maximum(np.linalg.norm(qform[:3, :3], axis=0), 1e-12) - 1
    if shift_mm > AGREE_MM or angle_deg > AGREE_DEG or np.abs(stretch).max() > 1e-3:
        raise DataError(
            f"{path} has two positions: sform and qform differ by {shift_mm:.3g} mm and {angle_deg:.3g} degrees "
            f"(voxels by {100 * np.abs(stretch).max():.2g} %), expected at most {AGREE_MM} mm and {AGREE_DEG} degrees",
            hint="Decide which is right and write it to both; programs differ in the one they follow.",
        )
