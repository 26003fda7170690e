"""Extract: one row of features per subject."""

from typing import Any, ClassVar

from pydantic import Field, field_validator

from radfuse.component import Stage
from radfuse.data.names import column
from radfuse.data.row import FeatureRow
from radfuse.data.subject import Subject
from radfuse.errors import DataError, RadfuseError
from radfuse.extract.extractor import Extractor, Measure
from radfuse.extract.fast import Fast
from radfuse.extract.parameters import BUILT_IN, faults, parameters_for


class Extract(Stage):
    """Measure every volume of a subject inside its mask."""

    name: ClassVar[str] = "extract"
    version: ClassVar[int] = 1

    parameters: dict[str, dict[str, Any]] = Field(
        BUILT_IN,
        description="PyRadiomics parameters by modality (or the file that holds them): `fused` for every fused "
        "volume, `MR` for MR_T1 and MR_T2, `default` for the rest.",
    )
    extractor: Extractor = Field(
        Fast(), description="What computes the features: `fast` or `pyradiomics`; the numbers agree."
    )

    @field_validator("parameters")
    @classmethod
    def _valid_for_pyradiomics(cls, parameters: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        # The built-in parameters are known to be valid; importing PyRadiomics to say so would take its time.
        lines = [
            f"{modality}: {line}"
            for modality, given in parameters.items()
            if given != BUILT_IN.get(modality)
            for line in faults(given)
        ]
        if lines:
            raise ValueError("; ".join(lines))
        return parameters

    def __call__(self, subject: Subject, device: str = "cpu") -> FeatureRow:
        """Measure a subject: measured volumes and fused ones, each in its own region.

        Parameters
        ----------
        subject : volumes with their masks.
        device : taken for the same call as the other stages'; features are computed on the CPU.
        """
        values: dict[str, float] = {}
        diagnostics: dict[str, str] = {}
        problems: dict[str, str] = {}
        for name, volume in subject.volumes.items():
            if name not in subject.masks:
                raise DataError(
                    f"{name} of {subject.id} has no region to measure",
                    hint="Give the manifest a mask for it, or run `radfuse align`, which carries the reference's over.",
                )
            try:
                found = self._measure(name)(volume, subject.masks[name])
            except RadfuseError as error:
                error.add_note(f"while measuring {name} of {subject.id}")
                raise
            values |= {column(name, feature): value for feature, value in found.values.items()}
            diagnostics |= {column(name, item): text for item, text in found.diagnostics.items()}
            problems |= {column(name, feature): reason for feature, reason in found.problems.items()}
        return FeatureRow(subject.id, values, diagnostics, problems)

    def _measure(self, modality: str) -> Measure:
        return self.extractor.build(parameters_for(modality, self.parameters))
