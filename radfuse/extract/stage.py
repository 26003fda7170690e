"""Extract: one row of features per subject."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field, field_validator, model_validator

from radfuse.component import Stage
from radfuse.data.names import column
from radfuse.data.region import LEGAL_REGION
from radfuse.data.row import FeatureRow
from radfuse.data.subject import Subject
from radfuse.data.volume import Mask
from radfuse.errors import DataError, RadfuseError
from radfuse.extract.extractor import Extractor, Measure, Measured
from radfuse.extract.fast import Fast
from radfuse.extract.further import further_regions
from radfuse.extract.parameters import BUILT_IN, faults, parameters_for
from radfuse.extract.regions import Derived, Region
from radfuse.extract.whole_shape import with_whole_shape

REGION_NOTES = "diagnostics_radfuse_Region"


class Extract(Stage):
    """Measure every volume of a subject inside its regions."""

    name: ClassVar[str] = "extract"
    version: ClassVar[int] = 2

    parameters: dict[str, dict[str, Any]] = Field(
        BUILT_IN,
        description="PyRadiomics parameters by modality (or the file that holds them): `fused` for every fused "
        "volume, `MR` for MR_T1 and MR_T2, `default` for the rest.",
    )
    extractor: Extractor = Field(
        Fast(),
        description="What computes the features: `fast` or `pyradiomics`, whose numbers agree, or `ibsi`; "
        "`ibsi: true` is short for the last.",
    )
    regions: dict[str, Region] = Field(
        {},
        description="Regions derived from the drawn ones, by name: `{rim: {method: ring, outer_mm: 10}}`; each is "
        "measured in every volume.",
    )

    @model_validator(mode="before")
    @classmethod
    def _ibsi_is_an_extractor(cls, given: Any) -> Any:
        """Take ``ibsi: true`` as short for the extractor of that name."""
        if not isinstance(given, Mapping) or "ibsi" not in given:
            return given
        rest = {name: value for name, value in given.items() if name != "ibsi"}
        chosen = rest.get("extractor")
        named = chosen.get("method") if isinstance(chosen, Mapping) else getattr(chosen, "method", chosen)
        if not isinstance(given["ibsi"], bool):
            raise ValueError(f"ibsi is true or false, found {given['ibsi']!r}; its settings belong to the extractor")
        if given["ibsi"] and named not in (None, "ibsi"):
            raise ValueError(f"ibsi: true and the extractor {named!r} exclude each other; leave one out")
        return {"extractor": "ibsi", **rest} if given["ibsi"] else rest

    @field_validator("regions")
    @classmethod
    def _names_apart(cls, regions: dict[str, Region]) -> dict[str, Region]:
        names = [each for name, region in regions.items() for each in region.names(name)]
        for name in names:
            if not LEGAL_REGION.match(name):
                raise ValueError(f"region {name!r} must be a letter, then letters, digits, _ or -, at most 32")
            if names.count(name) > 1:
                raise ValueError(f"two regions would be called {name!r}")
        return regions

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

    @model_validator(mode="after")
    def _extractor_takes_the_parameters(self) -> "Extract":
        lines = [
            f"parameters.{modality}: {line}"
            for modality, given in self.parameters.items()
            for line in self.extractor.faults(given)
        ]
        if lines:
            raise ValueError("; ".join(lines))
        return self

    def __call__(self, subject: Subject, device: str = "cpu") -> FeatureRow:
        """Measure a subject: measured volumes and fused ones, each in its main region and in every further one.

        Without its main region a subject fails; without a further one it has no values there, and the reason why.

        Parameters
        ----------
        subject : volumes with their masks, and the further regions that were drawn.
        device : ``cpu`` or ``cuda``, for the extractor; no number depends on it.
        """
        found: dict[tuple[str, str], Measured] = {}
        for name in subject.volumes:
            if name not in subject.masks:
                raise DataError(
                    f"{name} of {subject.id} has no region to measure",
                    hint="Give the manifest a mask for it, or run `radfuse align`, which carries the reference's over.",
                )
            try:
                found[name, ""] = self._measured(subject, name, subject.masks[name], device)
            except RadfuseError as error:
                error.add_note(f"while measuring {name} of {subject.id}")
                raise
        # One region after the other, so that volumes which share a mask share the work on its shape.
        for region, derived in further_regions(subject, self.regions).items():
            for name in subject.volumes:
                names = found[name, ""].values
                found[name, region] = self._further(subject, name, region, derived, names, device)
        return _row(subject.id, found)

    def _further(
        self, subject: Subject, name: str, region: str, derived: Derived, names: Iterable[str], device: str
    ) -> Measured:
        """Measure a further region; where there is none, or it cannot be measured, every value is NaN and says why.

        Parameters
        ----------
        names : the features of the volume's main region: they are those of every region.
        """
        why = derived.why or f"{region} is not drawn on {name}, or lies outside its field of view"
        if name in derived.masks:
            try:
                measured = self._measured(subject, name, derived.masks[name], device, self._least(region))
                notes = {REGION_NOTES: derived.notes} if derived.notes else {}
                return replace(measured, diagnostics={**measured.diagnostics, **notes})
            except DataError as error:
                why = error.message
        reason = f"no region {region}: {why}"
        missing = dict.fromkeys(names, float("nan"))
        return Measured(missing, {REGION_NOTES: reason}, dict.fromkeys(missing, reason))

    def _measured(self, subject: Subject, name: str, mask: Mask, device: str, least: int = 1) -> Measured:
        """Measure a volume inside a region, as far as its scan covers it: with at least so many voxels."""
        measure, volume, shown = self._measure(name, device), subject.gone_on(name), subject.cut(name, mask)
        if shown is mask:
            return measure(volume, mask)
        if shown.voxels < least:
            raise DataError(
                f"the field of view of {name} holds {shown.voxels} of its {mask.voxels} voxels, fewer than {least}"
            )
        return with_whole_shape(measure, volume, mask, shown)

    def _least(self, region: str) -> int:
        """Give the fewest voxels that a derived region is measured with."""
        own = [each.min_voxels for name, each in self.regions.items() if region in each.names(name)]
        return next(iter(own), 1)

    def _measure(self, modality: str, device: str) -> Measure:
        return self.extractor.build(parameters_for(modality, self.parameters), device)


def _row(subject: str, found: Mapping[tuple[str, str], Measured]) -> FeatureRow:
    values: dict[str, float] = {}
    diagnostics: dict[str, str] = {}
    problems: dict[str, str] = {}
    for (name, region), each in found.items():
        values |= {column(name, feature, region): value for feature, value in each.values.items()}
        diagnostics |= {column(name, item, region): text for item, text in each.diagnostics.items()}
        problems |= {column(name, feature, region): reason for feature, reason in each.problems.items()}
    return FeatureRow(subject, values, diagnostics, problems)
