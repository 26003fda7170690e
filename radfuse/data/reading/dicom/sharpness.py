"""What a header tells of an image's resolution, and what it does not.

PET: Siemens writes the Gaussian that was applied after reconstruction into Convolution Kernel (0018,1210), such as
``XYZ Gauss5.00`` or ``XYZ G5.0``. It is a part of the point spread only: the scanner's own adds to it in squares, so
the image's full width is never below it. A Butterworth or Hann filter, and what other vendors keep in private elements,
states no full width and is not read.

CT: the kernel's name (B30f, STANDARD) is the vendor's secret and states no width; Slice Thickness (0018,0050) is the
full width of the slice profile, so it serves along z. MR: Slice Thickness likewise. In the plane both have to be
measured.
"""

from __future__ import annotations

import re

from radfuse.data.blur import Stated
from radfuse.data.modality import EMISSION

GAUSSIAN = re.compile(
    r"^\s*(?P<axes>X?Y?Z?)\s*-?\s*G(?:AUSS(?:IAN)?)?\s*(?P<mm>\d+(?:\.\d+)?)\s*(?:mm)?\s*$", re.IGNORECASE
)
WIDEST_MM = 30.0


def header_fwhm_mm(unit: str, kernel: str, slice_thickness_mm: float | None) -> Stated | None:
    """Give what a header states of an image's blur along x, y, z; None where it states nothing.

    Examples
    --------
    >>> header_fwhm_mm("SUV", "XY G4.0", 3.0), header_fwhm_mm("HU", "B30f", 2.5)
    ((4.0, 4.0, 0.0), (None, None, 2.5))
    """
    if unit in EMISSION:  # what PET calls a slice's thickness is the distance between slices
        return filter_fwhm_mm(kernel)
    return (None, None, slice_thickness_mm) if slice_thickness_mm else None


def filter_fwhm_mm(kernel: str) -> tuple[float, float, float] | None:
    """Give the full width of the Gaussian that a PET convolution kernel names, along x, y, z; None for any other.

    Examples
    --------
    >>> filter_fwhm_mm("XYZ Gauss5.00"), filter_fwhm_mm("XY G4.0"), filter_fwhm_mm("B30f")
    ((5.0, 5.0, 5.0), (4.0, 4.0, 0.0), None)
    """
    found = GAUSSIAN.match(kernel)
    if found is None or not found["axes"]:
        return None
    width = float(found["mm"])
    if not 0 < width <= WIDEST_MM:
        return None
    x, y, z = (width if axis in found["axes"].upper() else 0.0 for axis in "XYZ")
    return x, y, z
