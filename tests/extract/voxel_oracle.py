"""PyRadiomics' own voxel mode, made to run, and the comparison with it."""

import json
from unittest.mock import patch

import numpy as np
import radiomics
import SimpleITK as sitk
from radiomics.featureextractor import RadiomicsFeatureExtractor

from radfuse.extract.agreement import scale_of, tolerance
from radfuse.extract.containment import contained
from radfuse.extract.feature_names import feature_names
from radfuse.extract.tensors.maps import Tensors
from radfuse.extract.tensors.room import Room
from radfuse.extract.voxelwise.kernels import COMPILED
from radfuse.extract.voxelwise.maps import Surroundings, computed, voxel_maps

# Of these PyRadiomics' answer for a voxel hangs on the other voxels of its batch.
BATCHED = ("original_glcm_JointAverage", "original_glcm_MCC")
# Sums over pairs or runs of which no voxel of the batch has any: 0 there, and missing beside voxels that have some.
SUMS_OF_NOTHING = ("glcm_InverseVariance", "glrlm_RunEntropy", "glrlm_RunVariance")

# Torch's CPU device runs the code that a GPU runs.
KERNELS = (COMPILED, Tensors(Room("cpu")))


class Reporter(radiomics._DummyProgressReporter):
    """The installed build calls its own reporter with a keyword that it does not take."""

    def __init__(self, iterable=None, desc="", total=None):
        super().__init__(iterable, desc)


def library_maps(volume, mask, parameters, radius=1, masked=True, batch=-1):
    """Give PyRadiomics' maps as SimpleITK images, NaN outside of the region and where it gives no number."""
    voxel = {"kernelRadius": radius, "maskedKernel": masked, "initValue": float("nan")}
    with patch.object(radiomics, "_DummyProgressReporter", Reporter), contained():
        extractor = RadiomicsFeatureExtractor({**parameters, "voxelSetting": voxel})
        extractor.settings["voxelBatch"] = batch
        found = extractor.execute(volume.to_sitk(), mask.to_sitk(), label=mask.label, voxelBased=True)
    return {name: image for name, image in found.items() if not name.startswith("diagnostics")}


def on_grid(image, grid):
    """Put a map of a crop onto a whole grid by world coordinates alone; (z, y, x), NaN around it."""
    found = sitk.Resample(image, grid, sitk.Transform(), sitk.sitkNearestNeighbor, float("nan"), sitk.sitkFloat64)
    return sitk.GetArrayFromImage(found)


def names_of(parameters):
    return [name for name in feature_names(json.dumps(parameters)) if computed(name)]


def assert_maps_agree(volume, mask, parameters, radius=1, masked=True, batch=-1, classes=None, but=()):
    """Demand PyRadiomics' number at every voxel, and NaN where it has none; of all maps but some, whoever computes."""
    if classes:
        parameters = {**parameters, "featureClass": dict.fromkeys(classes)}
    expected = library_maps(volume, mask, parameters, radius, masked, batch)
    names = names_of(parameters)
    for kernels in KERNELS:
        around = Surroundings(radius, masked, kernels=kernels)
        found = dict(voxel_maps(volume, mask, parameters, names, around))
        assert set(found) == set(names) == set(expected)
        _assert_near(volume, found, expected, batch, but)


def _assert_near(volume, found, expected, batch, but):
    wrong = {}
    for name, image in expected.items():
        if name in but:
            continue
        there = on_grid(image, found[name].to_sitk())
        ours = found[name].array.astype(np.float64)
        if batch != 1 and name.split("_", 1)[1] in ("glcm_JointAverage", "glcm_MCC"):
            # In one batch these are missing where a direction of some voxel has no pair.
            ours = np.where(np.isnan(there), np.nan, ours)
        if name.split("_", 1)[1] in SUMS_OF_NOTHING:
            there = np.where(np.isnan(ours) & (there == 0), np.nan, there)
        spread = float(np.ptp(volume.array.astype(np.float64)))
        scale = scale_of(name, {f"{name.split('_', 1)[0]}_firstorder_Range": spread})
        with np.errstate(invalid="ignore"):
            apart = np.abs(ours - there) > tolerance(name) * np.maximum(np.abs(there), scale)
        apart |= np.isnan(ours) != np.isnan(there)
        if apart.any():
            place = tuple(np.argwhere(apart)[0])
            wrong[name] = (int(apart.sum()), place, ours[place], there[place])
    assert wrong == {}, wrong
