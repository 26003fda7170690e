"""Pictures: 8- and 16-bit PNG, TIFF and JPEG, grey or colour, as numbers from 0 to 1."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from radfuse.errors import DataError, StageError

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

Picture = npt.NDArray[np.float32]

SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
FORMATS = ("PNG", "TIFF", "JPEG")
# What Pillow calls pictures that can be shown without knowing more than the file says, without their alpha.
GREY, COLOUR = ("1", "L", "LA"), ("P", "PA", "RGB", "RGBA", "YCbCr")


def is_picture(path: Path) -> bool:
    """Whether the name is that of a picture."""
    return path.name.lower().endswith(SUFFIXES)


def read_picture(path: Path) -> Picture:
    """Read a picture as float32 in [0, 1]: (y, x) where it is grey, (y, x, 3) red, green, blue where it is not.

    Black is 0 and white 1, whatever the bits; a palette is looked up; what is transparent is laid over black, as
    background is; a colour file whose three channels agree everywhere is grey. No gamma or colour profile is applied
    and no rotation tag obeyed: the numbers are those stored.

    Parameters
    ----------
    path : .png, .tif, .tiff, .jpg or .jpeg, of one page, 8 or 16 bits in each channel.
    """
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise DataError(f"{path} does not exist")
    if not is_picture(path):
        raise DataError(
            f"{path} is not a picture that radfuse reads, expected a name ending in {', '.join(SUFFIXES)}",
            hint="Convert it to PNG first.",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                channels, top = _channels(path, image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        reason = "its content is not of these kinds" if isinstance(error, UnidentifiedImageError) else str(error)
        message = f"{path} cannot be read as a picture: {reason}"
        raise DataError(message, hint="Copy or convert the file again.") from error
    return _laid_over_black(channels.astype(np.float32) / np.float32(top))


def write_picture(path: Path, array: npt.NDArray[Any], bits: Literal[8, 16] = 8) -> int:
    """Write a picture as PNG, old or whole; the same numbers give the same bytes. Gives how many numbers were clipped.

    Parameters
    ----------
    path : its name ends in .png.
    array : (y, x) grey or (y, x, 3) red, green, blue. 0 is black and 1 white; what lies beyond by more than half a
        step is clipped and counted, and the rest is rounded to the nearest step.
    bits : of each channel.
    """
    import SimpleITK as sitk

    if not path.name.lower().endswith(".png"):
        raise DataError(f"{path} is not a name for a picture that radfuse writes, expected one ending in .png")
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)) or not array.size:
        raise DataError(f"a picture has the shape (y, x) or (y, x, 3), found {array.shape} for {path}")
    if not np.isfinite(array).all():
        raise DataError(f"{path} would hold {int((~np.isfinite(array)).sum())} values that are not finite numbers")
    top = 2**bits - 1
    steps = np.rint(np.asarray(array, dtype=np.float64) * top)
    clipped = int(((steps < 0) | (steps > top)).sum())
    stored = np.clip(steps, 0, top).astype(np.uint8 if bits == 8 else np.uint16)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")  # writers choose the format by the suffix
    try:
        sitk.WriteImage(sitk.GetImageFromArray(stored, isVector=stored.ndim == 3), str(temporary), useCompression=True)
        back = sitk.ReadImage(str(temporary))  # writing returns success on a full disk
        if not np.array_equal(sitk.GetArrayViewFromImage(back), stored):
            raise StageError(f"{path} did not come back as it was written", hint="Is the disk full?")
        os.replace(temporary, path)
    except RuntimeError as error:
        raise StageError(f"{path} cannot be written: {str(error).splitlines()[-1].strip()}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return clipped


def _channels(path: Path, image: ImageFile) -> tuple[npt.NDArray[Any], int]:
    """Give the stored whole numbers, (y, x) or (y, x, channel), alpha last, and the number that is white."""
    frames = int(getattr(image, "n_frames", 1))
    if frames != 1:
        raise DataError(f"{path} holds {frames} pictures, expected one", hint="Save each page as a file of its own.")
    deep = any(";16" in str(tile[3]) for tile in image.tile)
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16), 65535
    if deep and image.mode in (*GREY, *COLOUR):
        return _sixteen_bits(path), 65535  # Pillow would drop the lower eight
    if image.mode in GREY:
        return np.asarray(image.convert("LA" if image.has_transparency_data else "L")), 255
    if image.mode in COLOUR:
        return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB")), 255
    raise DataError(
        f"{path} holds pixels of the kind {image.mode!r}, expected 8 or 16 bits of grey or of red, green and blue",
        hint="Measured values belong into NIfTI or NRRD; a picture can be saved again as PNG.",
    )


def _sixteen_bits(path: Path) -> npt.NDArray[Any]:
    import SimpleITK as sitk

    try:
        return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))
    except RuntimeError as error:
        raise OSError(str(error).splitlines()[-1].strip()) from error


def _laid_over_black(channels: Picture) -> Picture:
    if channels.ndim == 2:
        return channels
    if channels.shape[2] in (2, 4):
        channels = channels[..., :-1] * channels[..., -1:]
    if (channels == channels[..., :1]).all():
        channels = channels[..., 0]
    return np.ascontiguousarray(channels)
