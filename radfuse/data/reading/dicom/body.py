"""What an uptake is divided by: body weight, lean body mass, body surface."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from radfuse.errors import DataError

Kind = Literal["bw", "lbm_janma", "lbm_james", "lbm_james128", "bsa"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# SUV Type (0054,1006), DICOM PS3.3 C.8.9.1.
DICOM_TYPES: dict[str, Kind] = {
    "BW": "bw",
    "LBM": "lbm_james",
    "LBMJAMES128": "lbm_james128",
    "LBMJANMA": "lbm_janma",
    "BSA": "bsa",
}
HEAVIEST_KG = 500.0
TALLEST_M = 2.8


@dataclass(frozen=True)
class Body:
    """The patient as the header has them; None where the tag is absent.

    Parameters
    ----------
    weight_kg : Patient's Weight (0010,1030).
    height_m : Patient's Size (0010,1020).
    sex : Patient's Sex (0010,0040): M, F or anything else.
    """

    weight_kg: float | None
    height_m: float | None
    sex: str

    def size(self, kind: Kind) -> float:
        """The normaliser: grams for weight and lean mass, square centimetres for surface.

        ========== ==============================================================================================
        bw         weight
        lbm_janma  Janmahasatian et al., Clin Pharmacokinet 2005;44:1051, with BMI = kg / m2
        lbm_james  James 1976 as DICOM and QIBA write it: 120 for men, 148 for women
        ..128      James 1976 with 128 for men (Hallynck et al., Br J Clin Pharmacol 1981;11:523)
        bsa        Du Bois and Du Bois, Arch Intern Med 1916;17:863
        ========== ==============================================================================================

        Examples
        --------
        >>> round(Body(75.0, 1.85, "M").size("lbm_janma"), 1)
        60915.3
        """
        weight = self._weight()
        if kind == "bw":
            return weight * 1000
        height = self._height()
        if kind == "bsa":
            return float(0.007184 * weight**0.425 * (height * 100) ** 0.725 * 1e4)
        male = self._male()
        if kind == "lbm_janma":
            index = weight / height**2
            return 1000 * 9270 * weight / (6680 + 216 * index if male else 8780 + 244 * index)
        quadratic = (weight / (height * 100)) ** 2
        multiplier = 128 if kind == "lbm_james128" else 120
        mass = 1.10 * weight - multiplier * quadratic if male else 1.07 * weight - 148 * quadratic
        if mass <= 0:
            raise DataError(f"the James formula gives a lean mass of {mass:.1f} kg", hint="Use --suv lbm_janma.")
        return 1000 * mass

    def _weight(self) -> float:
        if not self.weight_kg:
            raise DataError("PatientWeight (0010,1030) is missing", hint="Fill in PatientWeight (kg) at the source.")
        if not 0 < self.weight_kg <= HEAVIEST_KG:
            raise DataError(
                f"PatientWeight (0010,1030) is outside 0 to {HEAVIEST_KG:.0f} kg; is it in grams?",
                hint="Correct PatientWeight, in kilograms, at its source.",
            )
        return self.weight_kg

    def _height(self) -> float:
        if not self.height_m:
            raise DataError(
                "PatientSize (0010,1020) is missing", hint="Use --suv bw, or fill in PatientSize (m) at the source."
            )
        if not 0 < self.height_m <= TALLEST_M:
            raise DataError(
                f"PatientSize (0010,1020) is outside 0 to {TALLEST_M} m; is it in centimetres?",
                hint="Correct PatientSize, in metres, at its source.",
            )
        return self.height_m

    def _male(self) -> bool:
        if self.sex not in ("M", "F"):
            raise DataError(
                "PatientSex (0010,0040) is neither M nor F, and the formulas for lean mass are for those",
                hint="Use --suv bw or --suv bsa.",
            )
        return self.sex == "M"


def average_moment_s(duration_s: float, half_life_s: float) -> float:
    """Seconds from the start of a frame to the moment that has its average count rate (PS3.3 C.8.9.4.1.5, Tave).

    Examples
    --------
    >>> round(average_moment_s(180.0, 6586.2), 3)
    89.858
    """
    decay = math.log(2) / half_life_s
    return math.log(decay * duration_s / -math.expm1(-decay * duration_s)) / decay
