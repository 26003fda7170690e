"""Two ways to bend one prepared image onto another, in SimpleITK, on one thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from radfuse.align.grid import resample
from radfuse.align.registration.similarity import BINS, sample
from radfuse.data.deformation import Deformation, Motion
from radfuse.data.geometry import Geometry
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask, Volume, field_to_sitk, transform_to_sitk

FIELD_STEPS = 5  # points of the field between two control points: linear between them errs by 1 % of a spline's bend
LEVELS = 64  # grey values that demons tell apart when they learn what becomes of one


def spline(
    fixed: Volume,
    moving: Volume,
    linear: Transform,
    look: Mask | None,
    *,
    control_mm: float,
    iterations: int,
    sampling: float,
    seed: int,
) -> Deformation:
    """Bend by a cubic B-spline with control points at about a distance."""
    import SimpleITK as sitk

    image = fixed.to_sitk()
    extent = np.asarray(fixed.geometry.size) * np.asarray(fixed.geometry.spacing_mm)
    mesh = [int(n) for n in np.maximum(1, np.rint(extent / control_mm))]
    bend = sitk.BSplineTransformInitializer(image, mesh, order=3)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(sampling, seed)
    if look is not None:
        method.SetMetricFixedMask(sitk.Cast(look.to_sitk(), sitk.sitkUInt8))
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsLBFGSB(
        gradientConvergenceTolerance=1e-6, numberOfIterations=iterations, maximumNumberOfCorrections=5
    )
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([3.0, 0.0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetMovingInitialTransform(transform_to_sitk(linear))
    method.SetInitialTransform(bend, inPlace=True)
    grid = field_grid(fixed.geometry, control_mm / FIELD_STEPS)
    try:
        with one_thread():
            method.Execute(image, moving.to_sitk())
            field = _field_of(bend, grid)
    except RuntimeError:  # too few samples meet: there is nothing to bend by
        field = np.zeros((*grid.shape, 3))
    return widened(linear, field, grid)


def demons(
    fixed: Volume, moving: Volume, linear: Transform, look: Mask | None, *, smoothing_mm: float, iterations: int
) -> Deformation:
    """Bend by diffeomorphic demons, first in voxels of twice the size; they look everywhere."""
    import SimpleITK as sitk

    bent: Motion = linear
    grid, found = fixed.geometry, np.zeros((*fixed.geometry.shape, 3))
    for factor in (2.0, 1.0):
        x, y, z = (factor * value for value in fixed.geometry.spacing_mm)
        grid = fixed.geometry.with_spacing_mm(x, y, z)
        target = resample(fixed, grid, Transform.identity())
        steps = sitk.DiffeomorphicDemonsRegistrationFilter()
        steps.SetNumberOfIterations(iterations)
        steps.SetSmoothDisplacementField(True)
        steps.SetStandardDeviations([smoothing_mm / value for value in grid.spacing_mm])
        start = field_to_sitk(Deformation(linear, _bend_on(grid, bent), grid))
        alike = _alike(target, moving, linear, bent)
        with one_thread():
            field = steps.Execute(target.to_sitk(), alike.to_sitk(), sitk.Cast(start, sitk.sitkVectorFloat64))
        found = sitk.GetArrayFromImage(field)
        bent = widened(linear, found, grid)
    return widened(linear, found, grid)


def field_grid(image: Geometry, step_mm: float) -> Geometry:
    """Give a grid whose outer points are an image's outer voxel centres, at about a step from each other."""
    extent = (np.asarray(image.size) - 1) * np.asarray(image.spacing_mm)
    steps = np.ceil(extent / step_mm - 1e-6).astype(int)
    x, y, z = (float(e / n) if n else float(s) for e, n, s in zip(extent, steps, image.spacing_mm, strict=True))
    a, b, c = (int(n) + 1 for n in steps)
    return Geometry((a, b, c), (x, y, z), image.origin_mm, image.direction)


def widened(linear: Transform, field_mm: npt.NDArray[Any], grid: Geometry) -> Deformation:
    """Carry a field one step beyond its grid, so that voxels just outside the outer centres bend as those do."""
    padded = np.pad(field_mm, ((1, 1), (1, 1), (1, 1), (0, 0)), mode="edge")
    return Deformation(linear, np.ascontiguousarray(padded, dtype=np.float32), grid.one_wider())


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold ITK to one thread for a while: the filter's own setting does not reach the metric, whose sums then vary.

    Six runs with the filter's setting gave six answers, 1e-12 apart; under this one they are the same.
    """
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _field_of(bend: Any, grid: Geometry) -> npt.NDArray[np.float64]:
    import SimpleITK as sitk

    field = sitk.TransformToDisplacementField(
        bend, sitk.sitkVectorFloat64, grid.size, grid.origin_mm, grid.spacing_mm, grid.direction
    )
    return np.asarray(sitk.GetArrayFromImage(field))


def _bend_on(grid: Geometry, bent: Motion) -> npt.NDArray[np.float32]:
    if isinstance(bent, Transform):
        return np.zeros((*grid.shape, 3), np.float32)
    return bent.bend_mm(grid.centres_mm).reshape(*grid.shape, 3).astype(np.float32)


def _alike(target: Volume, moving: Volume, linear: Transform, bent: Motion) -> Volume:
    """Give the linearly aligned moving image with the target's grey values; beyond its view, the target itself.

    What a moving value becomes is learned where the best map so far puts it.
    """
    points = target.geometry.centres_mm
    wanted = target.array.ravel().astype(np.float64)
    here, there = sample(moving, linear.apply(points)), sample(moving, bent.apply(points))
    if not there.inside.any():
        return target
    values = there.values[there.inside]
    edges = np.linspace(values.min(), values.max(), LEVELS + 1)
    level = np.clip(np.digitize(values, edges) - 1, 0, LEVELS - 1)
    count = np.bincount(level, minlength=LEVELS)
    used = count > 0
    mean = np.bincount(level, wanted[there.inside], LEVELS)[used] / count[used]
    place = np.bincount(level, values, LEVELS)[used] / count[used]
    mapped = np.where(here.inside, np.interp(here.values, place, mean), wanted)
    return target.with_array(mapped.reshape(target.array.shape).astype(np.float32))
