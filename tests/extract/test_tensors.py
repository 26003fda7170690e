"""Texture and maps as tensors, on torch's CPU device and on a GPU where there is one, against the compiled loops."""

import logging
from functools import partial

import numpy as np
import pytest
import torch
from extract.voxel_oracle import names_of
from hypothesis import given, settings
from hypothesis import strategies as st

from radfuse.data.geometry import Geometry
from radfuse.data.subject import Subject
from radfuse.data.volume import Mask, Volume
from radfuse.extract.agreement import scale_of, tolerance
from radfuse.extract.extractor import Extractor
from radfuse.extract.native import HandOver
from radfuse.extract.native.counting import Compiled, counting_on
from radfuse.extract.native.measure import FastMeasure
from radfuse.extract.native.texture import Places, Texture
from radfuse.extract.stage import Extract
from radfuse.extract.tensors.counting import OnDevice
from radfuse.extract.tensors.maps import Tensors
from radfuse.extract.tensors.room import LEAST, Room
from radfuse.extract.voxelwise.kernels import COMPILED, kernels_on
from radfuse.extract.voxelwise.maps import Surroundings, voxel_maps
from radfuse.extract.voxelwise.stage import Voxelwise

GRID = Geometry((11, 10, 8), (0.8, 1.1, 2.5))
PARAMETERS = {
    "imageType": {"Original": {}, "Wavelet": {"binCount": 9}, "LoG": {"sigma": [2.0]}},
    "setting": {"binWidth": 20, "additionalInfo": True},
}
FEW = {"imageType": {"Original": {}}, "setting": {"binWidth": 30}}


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return request.param


@pytest.fixture(scope="module")
def lesion():
    rng = np.random.default_rng(8)
    inside = (rng.random(GRID.shape) < 0.6).astype(np.uint8)
    inside[:, :2] = 0
    smooth = rng.normal(size=GRID.shape).cumsum(2) * 30
    return Volume(smooth.astype(np.int16), GRID, "CT", "HU"), Mask(inside, GRID)


@st.composite
def regions(draw):
    """Levels and a region, often of one voxel, one slice, one line or many parts."""
    shape = tuple(draw(st.integers(1, side)) for side in (5, 7, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = rng.integers(1, draw(st.sampled_from([1, 2, 3, 12, 500])) + 1, shape)
    if draw(st.booleans()):  # broad zones and long runs
        levels = levels[: shape[0] // 3 + 1, : shape[1] // 3 + 1, : shape[2] // 3 + 1]
        levels = levels.repeat(3, 0).repeat(3, 1).repeat(3, 2)[: shape[0], : shape[1], : shape[2]]
    inside = rng.random(shape) < draw(st.sampled_from([0.0, 0.2, 0.6, 1.0]))
    inside.flat[rng.integers(inside.size)] = True
    return levels.astype(np.int16), inside


def counts_of(levels, inside, setting, counting):
    """Count everything; what the region is too thin for is said instead."""
    counts = Texture(Places(inside, setting), levels[inside], setting, np.ones(3), counting).counts
    work = (counts.pairs, partial(counts.surroundings, setting.get("gldm_a", 0)), counts.runs, counts.zones)
    try:
        return [each() for each in work]
    except (HandOver, RuntimeError) as told:
        return [str(told)]


def assert_same_bits(found, expected):
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, str):
            assert one == other
        else:
            for a, b in zip(one, other, strict=True):
                np.testing.assert_array_equal(a, b)


@given(
    regions(),
    st.sampled_from([{}, {"force2D": True, "force2Ddimension": 2}, {"distances": [1, 3]}, {"gldm_a": 2}]),
    st.sampled_from([1, 7, 10**6]),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_counts_are_those_of_the_compiled_loops_to_the_last_bit(region, setting, portion):
    device = partial(OnDevice, room=Room("cpu", portion))
    assert_same_bits(counts_of(*region, setting, device), counts_of(*region, setting, Compiled))


def test_counts_of_a_long_thread_through_a_volume(device):
    # One zone that winds through the whole box: the most rounds of joining, and the longest jumps.
    inside = np.zeros((1, 41, 40), bool)
    inside[0, ::2] = True
    inside[0, 1::4, -1] = inside[0, 3::4, 0] = True
    levels = np.ones(inside.shape, np.int16)
    counting = partial(OnDevice, room=Room(device))
    found, expected = (counts_of(levels, inside, {}, each) for each in (counting, Compiled))
    assert_same_bits(found, expected)
    assert found[3][1].tolist() == [21 * 40 + 20]


def test_every_feature_is_that_of_the_compiled_loops_to_the_last_bit(lesion, device):
    found = FastMeasure(PARAMETERS, 1000, "pyradiomics", partial(OnDevice, room=Room(device)))(*lesion)
    expected = Extractor.choose("fast").build(PARAMETERS)(*lesion)
    assert len(found.values) > 900
    assert found == expected


def maps_of(lesion, parameters, kernels, radius=1):
    around = Surroundings(radius, kernels=kernels)
    return dict(voxel_maps(*lesion, parameters, names_of(parameters), around))


@pytest.mark.parametrize("radius", [1, 2])
def test_maps_are_those_of_the_compiled_loops(lesion, device, radius):
    volume, mask = lesion
    few = Mask((mask.array * (np.arange(GRID.shape[0]) < 4 - radius)[:, None, None]).astype(np.uint8), GRID)
    found, expected = (maps_of((volume, few), FEW, kernels, radius) for kernels in (Tensors(Room(device)), COMPILED))
    assert list(found) == list(expected)
    spread = {"original_firstorder_Range": float(np.ptp(volume.array))}
    for name, image in expected.items():
        one, other = found[name].array.astype(float), image.array.astype(float)
        np.testing.assert_array_equal(np.isnan(one), np.isnan(other), err_msg=name)
        apart = np.abs(one - other) / np.maximum(np.abs(other), scale_of(name, spread))
        assert np.nanmax(apart, initial=0.0) <= tolerance(name), name


def test_how_many_neighbourhoods_go_at_once_changes_no_byte(lesion):
    whole, parts = (maps_of(lesion, FEW, Tensors(Room("cpu", largest))) for largest in (2**25, 1))
    assert all(whole[name].array.tobytes() == image.array.tobytes() for name, image in parts.items())


def test_smaller_portions_when_the_memory_runs_out(caplog):
    room, tried = Room("cuda", largest=LEAST * 40), []

    def work(portion):
        tried.append(portion)
        if portion > LEAST * 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nand more")
        return "done"

    with caplog.at_level(logging.WARNING):
        assert room.run(work, 4, lambda: "on the CPU") == "done"
        assert room.run(work, 4, lambda: "on the CPU") == "done"
    assert tried == [640, 320, 160, 80, 80]
    assert "goes on in portions of 80 voxels" in caplog.text
    assert len(caplog.records) == 1


def test_the_compiled_loops_when_nothing_fits(lesion, monkeypatch, caplog):
    def full(*given, **named):
        raise torch.OutOfMemoryError("CUDA out of memory.\nand more")

    monkeypatch.setattr(Room, "tensor", full)
    room = Room("cpu")
    levels, inside = lesion[0].array % 9 + np.int16(1), lesion[1].inside
    with caplog.at_level(logging.WARNING):
        found = counts_of(levels, inside, {}, partial(OnDevice, room=room))
    assert_same_bits(found, counts_of(levels, inside, {}, Compiled))
    assert "texture is computed on the CPU instead: CUDA out of memory." in caplog.text
    assert {record.name for record in caplog.records} == {"radfuse.extract.tensors.room"}
    monkeypatch.undo()
    monkeypatch.setattr(torch.Tensor, "cpu", full)
    found, expected = (maps_of(lesion, FEW, kernels) for kernels in (Tensors(Room("cpu")), COMPILED))
    assert all(image.array.tobytes() == found[name].array.tobytes() for name, image in expected.items())


def test_the_cpu_is_the_compiled_loops_and_anything_else_is_tensors():
    assert counting_on("cpu") is Compiled
    assert kernels_on("cpu") is COMPILED
    assert counting_on("cuda").keywords["room"].device == "cuda"
    assert kernels_on("cuda").room.device == "cuda"


def test_the_stages_hand_the_device_on(lesion, monkeypatch):
    given, tensor = [], Room.tensor
    monkeypatch.setattr(Room, "tensor", lambda room, array: given.append(room.device) or tensor(room, array))
    subject = Subject("a", {"CT": lesion[0]}, {"CT": lesion[1]}, regions={"half": {"CT": lesion[1]}})
    extract, voxelwise = Extract(parameters={"CT": FEW}), Voxelwise(parameters={"CT": FEW})
    wanted = {"CT": ["original_glcm_Contrast"]}
    # To torch cpu:0 is the CPU, to radfuse it is any device that is not plainly the CPU.
    rows = [extract(subject, device) for device in ("cpu", "cpu:0")]
    assert rows[0] == rows[1]
    assert set(given) == {"cpu:0"}
    of_the_row = len(given)
    maps = [dict(voxelwise(subject, wanted, 2, device)) for device in ("cpu", "cpu:0")]
    assert maps[0].keys() == maps[1].keys()
    assert len(given) > of_the_row
