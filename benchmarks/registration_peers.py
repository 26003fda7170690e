"""Register pairs with another library: ``python benchmarks/registration_peers.py TOOL FOLDER``; needs no radfuse.

Started by `registration.py` with the interpreter that has the library. Every ``FOLDER/<trial>/fixed.nii.gz`` and
``moving.nii.gz`` becomes ``FOLDER/<trial>/<tool>.json``: the 4 x 4 matrix from fixed to moving points (LPS mm), and
seconds of the clock for the registration without reading the files.
"""

import json
import os
import sys
import time
from pathlib import Path

os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"

import numpy as np
import SimpleITK as sitk


def simpleitk(folder: Path) -> tuple[np.ndarray, float]:
    """Register with SimpleITK as its examples do: one start from the headers, Mattes' MI, three levels."""
    fixed, moving = (sitk.ReadImage(str(folder / f"{n}.nii.gz"), sitk.sitkFloat32) for n in ("fixed", "moving"))
    began = time.perf_counter()
    centre = fixed.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in fixed.GetSize()])
    found = sitk.Euler3DTransform()
    found.SetCenter(centre)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(50)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.25, 1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsGradientDescent(1.0, 100, 1e-6, 10)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(found, inPlace=True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:
        found.SetIdentity()
    return _matrix(found), time.perf_counter() - began


def elastix(folder: Path) -> tuple[np.ndarray, float]:
    """Register with itk-elastix and its own rigid parameters."""
    import itk

    fixed, moving = (itk.imread(str(folder / f"{n}.nii.gz"), itk.F) for n in ("fixed", "moving"))
    began = time.perf_counter()
    parameters = itk.ParameterObject.New()
    rigid = parameters.GetDefaultParameterMap("rigid", 4)
    rigid["AutomaticTransformInitialization"] = ["false"]
    rigid["RandomSeed"] = ["1"]
    parameters.AddParameterMap(rigid)
    try:
        _, result = itk.elastix_registration_method(
            fixed, moving, parameter_object=parameters, number_of_threads=1, log_to_console=False
        )
    except RuntimeError:
        return np.eye(4), time.perf_counter() - began
    seconds = time.perf_counter() - began
    found = result.GetParameterMap(0)
    euler = sitk.Euler3DTransform()
    euler.SetCenter([float(v) for v in found["CenterOfRotationPoint"]])
    euler.SetComputeZYX(found.get("ComputeZYX", ("false",))[0] == "true")
    euler.SetParameters([float(v) for v in found["TransformParameters"]])
    return _matrix(euler), seconds


def ants(folder: Path, initial: str | None = None) -> tuple[np.ndarray, float]:
    """Register with ANTs: `Rigid`, which starts from the centres of mass."""
    import ants

    fixed, moving = (ants.image_read(str(folder / f"{n}.nii.gz")) for n in ("fixed", "moving"))
    began = time.perf_counter()
    found = ants.registration(fixed, moving, "Rigid", initial_transform=initial, random_seed=1)
    seconds = time.perf_counter() - began
    linear = sitk.ReadTransform(found["fwdtransforms"][0])
    for name in {*found["fwdtransforms"], *found["invtransforms"]}:
        Path(name).unlink(missing_ok=True)
    return _matrix(linear), seconds


def ants_headers(folder: Path) -> tuple[np.ndarray, float]:
    """Register with ANTs: `Rigid`, started from the headers."""
    return ants(folder, "Identity")


def greedy(folder: Path) -> tuple[np.ndarray, float]:
    """Register with greedy: normalised mutual information, six degrees of freedom, started from the headers."""
    from picsl_greedy import Greedy3D

    fixed, moving = (sitk.ReadImage(str(folder / f"{n}.nii.gz"), sitk.sitkFloat32) for n in ("fixed", "moving"))
    began = time.perf_counter()
    tool = Greedy3D()
    tool.execute(
        "-i fixed moving -a -dof 6 -n 100x50x10 -m NMI -ia-identity -threads 1 -o found",
        fixed=fixed,
        moving=moving,
        found=None,
    )
    matrix = np.asarray(tool["found"], dtype=float)  # greedy speaks RAS
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    return flip @ matrix @ flip, time.perf_counter() - began


def _matrix(found: sitk.Transform) -> np.ndarray:
    origin = np.asarray(found.TransformPoint((0.0, 0.0, 0.0)))
    columns = [np.asarray(found.TransformPoint(tuple(row))) - origin for row in np.eye(3).tolist()]
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = np.stack(columns, axis=1), origin
    return matrix


TOOLS = {each.__name__: each for each in (simpleitk, elastix, ants, ants_headers, greedy)}


def main() -> None:
    """Work through the trials."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    tool, folder = sys.argv[1], Path(sys.argv[2])
    for trial in sorted(path for path in folder.iterdir() if path.is_dir()):
        if (trial / f"{tool}.json").is_file():
            continue
        matrix, seconds = TOOLS[tool](trial)
        (trial / f"{tool}.json").write_text(json.dumps({"matrix": matrix.tolist(), "seconds": seconds}))


if __name__ == "__main__":
    main()
