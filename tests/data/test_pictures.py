"""Pictures come in as the numbers that are stored, and go out rounded and clipped as said."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from radfuse.data.reading.pictures import read_picture, write_picture
from radfuse.errors import DataError

GREY = np.array([[0, 51, 102], [153, 204, 255]], np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_grey_of_eight_bits_is_its_share_of_255(tmp_path: Path, suffix: str) -> None:
    flat = np.full((16, 16), 51, np.uint8)  # a flat picture survives JPEG
    Image.fromarray(flat).save(tmp_path / f"a.{suffix}")
    found = read_picture(tmp_path / f"a.{suffix}")
    assert found.dtype == np.float32
    assert found.shape == (16, 16)
    np.testing.assert_allclose(found, 0.2, rtol=1e-6)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_all_sixteen_bits_count_in_grey_and_in_colour(tmp_path: Path, suffix: str) -> None:
    grey = np.array([[0, 1, 257], [256, 65534, 65535]], np.uint16)
    colour = np.stack([grey, grey[::-1], grey[:, ::-1]], axis=-1)
    for name, stored in (("grey", grey), ("colour", colour)):
        path = tmp_path / f"{name}.{suffix}"
        sitk.WriteImage(sitk.GetImageFromArray(stored, isVector=stored.ndim == 3), str(path))
        found = read_picture(path)
        np.testing.assert_array_equal(np.rint(found.astype(float) * 65535), stored)


def test_colour_keeps_the_order_red_green_blue(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_picture(tmp_path / "a.png"), COLOUR / 255, rtol=1e-6)


def test_a_colour_file_without_colour_is_grey(tmp_path: Path) -> None:
    Image.fromarray(np.stack([GREY] * 3, axis=-1)).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_picture(tmp_path / "a.png"), GREY / 255, rtol=1e-6)


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 51, 0])
    image.save(tmp_path / "a.png")
    np.testing.assert_allclose(read_picture(tmp_path / "a.png"), [[[1, 0, 0], [0, 0.2, 0]]], rtol=1e-6)


def test_a_transparent_entry_of_a_palette_is_black(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 51, 0])
    image.save(tmp_path / "a.png", transparency=0)
    np.testing.assert_allclose(read_picture(tmp_path / "a.png"), [[[0, 0, 0], [0, 0.2, 0]]], rtol=1e-6)


def test_what_is_transparent_is_laid_over_black(tmp_path: Path) -> None:
    alpha = np.array([[0, 255, 255], [51, 255, 0]], np.uint8)
    Image.fromarray(np.dstack([COLOUR, alpha])).save(tmp_path / "rgba.png")
    Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)]).save(tmp_path / "la.png")
    np.testing.assert_allclose(read_picture(tmp_path / "rgba.png"), COLOUR / 255 * (alpha / 255)[..., None], rtol=1e-6)
    np.testing.assert_allclose(read_picture(tmp_path / "la.png"), GREY / 255 * (alpha / 255), rtol=1e-6)


def test_black_and_white_of_one_bit(tmp_path: Path) -> None:
    Image.fromarray(GREY > 128).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), GREY > 128)


def test_several_pages_floats_and_other_inks_are_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(GREY), Image.fromarray(GREY)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match="holds 2 pictures"):
        read_picture(tmp_path / "pages.tif")
    Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(DataError, match="of the kind 'F'"):
        read_picture(tmp_path / "float.tif")
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "ink.jpg")
    with pytest.raises(DataError, match="of the kind 'CMYK'"):
        read_picture(tmp_path / "ink.jpg")


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_picture(tmp_path / "none.png")
    (tmp_path / "a.bmp").write_bytes(b"BM")
    with pytest.raises(DataError, match=r"ending in \.png"):
        read_picture(tmp_path / "a.bmp")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match="content is not of these kinds"):
        read_picture(tmp_path / "text.png")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 64), np.uint8)).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read as a picture"):
        read_picture(tmp_path / "half.png")


def test_bytes_that_would_fill_the_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    Image.fromarray(GREY).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="exceeds limit"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_what_is_written_comes_back_to_half_a_step(
    tmp_path: Path, bits: int, shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    array = rng.uniform(0, 1, shape)
    assert write_picture(tmp_path / "a.png", array, bits) == 0
    top = 2**bits - 1
    # Pillow is the other reader: of 16-bit colour it gives the upper eight bits.
    with Image.open(tmp_path / "a.png") as image:
        seen = np.asarray(image)
    deep_colour = bits == 16 and len(shape) == 3
    expected = np.rint(array * top).astype(int)
    np.testing.assert_array_equal(seen, expected >> 8 if deep_colour else expected)
    assert np.abs(read_picture(tmp_path / "a.png") - array).max() <= 0.5 / top + 1e-6


def test_writing_rounds_to_the_nearest_and_counts_what_it_clips(tmp_path: Path) -> None:
    array = np.array([[-0.5, -0.001, 0.5 / 255 + 1e-6], [0.999, 1.001, 7.0]])
    assert write_picture(tmp_path / "a.png", array) == 2
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), [[0, 0, 1], [255, 255, 255]])


def test_the_same_numbers_give_the_same_bytes(tmp_path: Path, rng: np.random.Generator) -> None:
    array = rng.uniform(0, 1, (20, 30, 3))
    for name in ("a.png", "b.png"):
        write_picture(tmp_path / name, array)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_what_cannot_be_a_picture_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ending in \.png"):
        write_picture(tmp_path / "a.jpg", np.zeros((2, 2)))
    with pytest.raises(DataError, match=r"found \(2, 2, 4\)"):
        write_picture(tmp_path / "a.png", np.zeros((2, 2, 4)))
    with pytest.raises(DataError, match="1 values that are not finite"):
        write_picture(tmp_path / "a.png", np.array([[np.nan, 0.0]]))
    assert list(tmp_path.iterdir()) == []
