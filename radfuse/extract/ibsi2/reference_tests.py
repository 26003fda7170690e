"""The settings of the IBSI 2 reference tests [IBSI 2 manual, tables 6.1 to 6.3].

Lengths are what the manual gives in millimetres; neighbourhoods that it counts in voxels (mean, Laws' energy) are
those voxels at the spacing of its phantoms, 2 mm in phase 1 and 1 mm in phase 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from radfuse.extract.ibsi2.filter import Boundary, Dimensions, Filter
from radfuse.extract.ibsi2.gabor import Gabor
from radfuse.extract.ibsi2.laws import Laws
from radfuse.extract.ibsi2.log import LaplacianOfGaussian
from radfuse.extract.ibsi2.mean import Mean
from radfuse.extract.ibsi2.riesz import Riesz
from radfuse.extract.ibsi2.simoncelli import Simoncelli
from radfuse.extract.ibsi2.wavelet import Wavelet

# Of the range of the reference map, for every voxel.
MAP_TOLERANCE = 0.01


@dataclass(frozen=True)
class MapTest:
    """A digital phantom and the filter whose response to it is compared voxel by voxel."""

    phantom: str
    filter: Filter


def _laws(kernels: str, dimensions: Dimensions, boundary: Boundary) -> list[Laws]:
    """Give the three variants of a Laws test: as it is, rotation invariant, and its energy."""
    plain = Laws(kernels=kernels, pooling="none", energy_mm=None, dimensions=dimensions, boundary=boundary)
    pooled = plain.model_copy(update={"pooling": "max"})
    return [plain, pooled, pooled.model_copy(update={"energy_mm": 14.0})]


def _wavelets(wavelet: str, band: str, boundary: Boundary) -> list[Wavelet]:
    plain = Wavelet(wavelet=wavelet, band=band, pooling="none", boundary=boundary)
    return [plain, plain.model_copy(update={"pooling": "average"})]


def _gabors(shape: Gabor, theta_deg: float, step_deg: float) -> list[Gabor]:
    """Give both variants of a Gabor test: one direction in axial slices, and all directions in all planes."""
    single = shape.model_copy(update={"theta_deg": theta_deg, "theta_step_deg": None, "dimensions": 2})
    return [single, shape.model_copy(update={"theta_step_deg": step_deg})]


def _haar(band: str) -> Wavelet:
    return Wavelet(wavelet="haar", band=band, level=2, pooling="average", boundary="mirror")


def _simoncelli(level: int) -> Simoncelli:
    return Simoncelli(level=level, boundary="periodic")


_GABOR_A = Gabor(sigma_mm=10.0, wavelength_mm=4.0, gamma=0.5, boundary="zero")
_GABOR_B = Gabor(sigma_mm=20.0, wavelength_mm=8.0, gamma=2.5)
_LOG_ZERO = LaplacianOfGaussian(sigma_mm=3.0, boundary="zero")
_BOUNDARIES: tuple[Boundary, ...] = ("zero", "nearest", "periodic", "mirror")

# By the test's id in the file names of the reference maps. There is no map of 10.a, nor of 9.b.2 and 10.b.2, which
# are aligned by the structure tensor and not offered.
MAPS: Mapping[str, MapTest] = {
    **{
        f"1_a_{place}": MapTest("checkerboard", Mean(size_mm=30.0, boundary=boundary))
        for place, boundary in enumerate(_BOUNDARIES, start=1)
    },
    "1_b_1": MapTest("impulse", Mean(size_mm=30.0, dimensions=2, boundary="zero")),
    "2_a": MapTest("impulse", _LOG_ZERO),
    "2_b": MapTest("checkerboard", LaplacianOfGaussian(sigma_mm=5.0)),
    "2_c": MapTest("checkerboard", LaplacianOfGaussian(sigma_mm=5.0, dimensions=2)),
    **{f"3_a_{n}": MapTest("impulse", laws) for n, laws in enumerate(_laws("E5L5S5", 3, "zero"), start=1)},
    **{f"3_b_{n}": MapTest("checkerboard", laws) for n, laws in enumerate(_laws("E3W5R5", 3, "mirror"), start=1)},
    **{f"3_c_{n}": MapTest("checkerboard", laws) for n, laws in enumerate(_laws("L5S5", 2, "mirror"), start=1)},
    **{f"4_a_{n}": MapTest("impulse", g) for n, g in enumerate(_gabors(_GABOR_A, 60.0, 45.0), start=1)},
    **{f"4_b_{n}": MapTest("sphere", g) for n, g in enumerate(_gabors(_GABOR_B, 225.0, 22.5), start=1)},
    **{f"5_a_{n}": MapTest("impulse", w) for n, w in enumerate(_wavelets("db2", "LHL", "zero"), start=1)},
    **{f"6_a_{n}": MapTest("sphere", w) for n, w in enumerate(_wavelets("coif1", "HHL", "periodic"), start=1)},
    "7_a_1": MapTest("checkerboard", _haar("LLL")),
    "7_a_2": MapTest("checkerboard", _haar("HHH")),
    **{f"8_a_{level}": MapTest("checkerboard", _simoncelli(level)) for level in (1, 2, 3)},
    "9_a": MapTest("impulse", Riesz(order=(1, 0, 0), of=_LOG_ZERO)),
    "9_b_1": MapTest("sphere", Riesz(order=(0, 2, 0), of=_LOG_ZERO)),
    "10_a": MapTest("impulse", Riesz(order=(1, 0, 0), of=Simoncelli(boundary="zero"))),
    "10_b_1": MapTest("pattern_1", Riesz(order=(0, 2, 0), of=Simoncelli(boundary="nearest"))),
}

# The filters of phase 2 by their number; none is the image itself. A is filtered slice by slice as it is, B in three
# dimensions on 1 mm. The manual leaves the boundary open; the reference medians of 8 and 9 are those of a periodic one.
# 10 has no reference values; 11, its response aligned by the structure tensor, is not offered.
_FILTERS_2D: Mapping[int, Filter | None] = {
    1: None,
    2: Mean(size_mm=5.0, dimensions=2),
    3: LaplacianOfGaussian(sigma_mm=1.5, dimensions=2),
    4: Laws(kernels="L5E5", dimensions=2),
    5: Gabor(dimensions=2),
    6: Wavelet(band="LH", dimensions=2),
    7: Wavelet(band="HH", level=2, dimensions=2),
    8: Simoncelli(level=1, dimensions=2, boundary="periodic"),
    9: Simoncelli(level=2, dimensions=2, boundary="periodic"),
    10: Riesz(order=(0, 2, 0), of=Simoncelli(level=1, dimensions=2, boundary="periodic")),
}
_FILTERS_3D: Mapping[int, Filter | None] = {
    1: None,
    2: Mean(size_mm=5.0),
    3: LaplacianOfGaussian(sigma_mm=1.5),
    4: Laws(kernels="L5E5E5"),
    5: Gabor(),
    6: Wavelet(band="LLH"),
    7: Wavelet(band="HHH", level=2),
    8: Simoncelli(level=1, boundary="periodic"),
    9: Simoncelli(level=2, boundary="periodic"),
    10: Riesz(order=(0, 2, 0), of=Simoncelli(level=1, boundary="periodic")),
}
FEATURES: Mapping[str, Filter | None] = {
    **{f"{n}.A": chosen for n, chosen in _FILTERS_2D.items()},
    **{f"{n}.B": chosen for n, chosen in _FILTERS_3D.items()},
}
