"""Voxelwise: maps of chosen features, for every volume of a subject."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from pydantic import Field, PositiveInt

from radfuse.component import Stage
from radfuse.data.names import column
from radfuse.data.subject import Subject
from radfuse.data.volume import Volume
from radfuse.errors import ConfigError, DataError, RadfuseError
from radfuse.extract.parameters import BUILT_IN, parameters_for

# One of each family that is read as an image: brightness, its spread, disorder, local change, fineness.
DEFAULT_FEATURES = (
    "original_firstorder_Mean",
    "original_firstorder_RobustMeanAbsoluteDeviation",
    "original_firstorder_Entropy",
    "original_glcm_Contrast",
    "original_glszm_ZonePercentage",
)


class Voxelwise(Stage):
    """Make one map for each chosen feature of every volume: its value in the neighbourhood of each voxel.

    What is not said here is taken from the parameters' ``voxelSetting``, then from PyRadiomics' defaults.
    """

    name: ClassVar[str] = "voxelwise"
    version: ClassVar[int] = 1

    parameters: dict[str, dict[str, Any]] = Field(
        BUILT_IN, description="PyRadiomics parameters by modality, those of `extract`."
    )
    features: tuple[str, ...] = Field(
        DEFAULT_FEATURES,
        description="Names or patterns such as `original_glcm_*`; with `CT.` in front they are for that volume only.",
    )
    kernel_radius: PositiveInt | None = Field(None, description="Voxels on each side of the middle one; default 1.")
    masked: bool | None = Field(
        None, description="Whether only voxels of the region count in a neighbourhood; default yes."
    )
    outside: float | None = Field(
        None, description="Value outside of the region; default `initValue` where it is given, else NaN."
    )

    def chosen(self, modality: str) -> list[str]:
        """Name the features of a volume that have a map, in PyRadiomics' order."""
        return [name for name in self._known(modality) if any(self._matches(p, modality, name) for p in self.features)]

    def require_matches(self, modalities: Sequence[str]) -> None:
        """Refuse a pattern that is true of no feature of any of these volumes."""
        known = {modality: self._known(modality) for modality in modalities}
        for pattern in self.features:
            if not any(self._matches(pattern, modality, name) for modality in known for name in known[modality]):
                names = list(dict.fromkeys(name for found in known.values() for name in found))
                close = difflib.get_close_matches(pattern.rpartition(".")[2], names, n=1)
                meant = f"; did you mean {close[0]!r}?" if close else ""
                raise ConfigError(
                    f"no feature of {', '.join(modalities)} is called {pattern!r}{meant}",
                    hint="Patterns are such as original_glcm_*; image types have to be enabled in extract.parameters.",
                )

    def __call__(
        self, subject: Subject, wanted: Mapping[str, Sequence[str]], threads: int = 1, device: str = "cpu"
    ) -> Iterator[tuple[str, Volume]]:
        """Give the maps of a subject one after the other, by column name.

        Parameters
        ----------
        subject : volumes with their masks.
        wanted : by volume, the features to map; mostly those that are `chosen`.
        threads : how many threads share the work on the CPU; no number depends on it.
        device : ``cpu`` for the compiled loops, ``cuda`` for tensors; the maps agree within 1e-6.
        """
        from radfuse.extract.voxelwise.kernels import kernels_on
        from radfuse.extract.voxelwise.maps import Surroundings, voxel_maps

        kernels = kernels_on(device)
        threads = threads if device == "cpu" else 1
        for modality, features in wanted.items():
            if modality not in subject.masks:
                raise DataError(
                    f"{modality} of {subject.id} has no region to map",
                    hint="Give the manifest a mask for it, or run `radfuse align`, which carries the reference's over.",
                )
            parameters = parameters_for(modality, self.parameters)
            around = Surroundings(**self._surroundings(parameters), threads=threads, kernels=kernels)
            try:
                region = subject.cut(modality, subject.masks[modality])
                found = voxel_maps(subject.gone_on(modality), region, parameters, features, around)
                for name, image in found:
                    yield column(modality, name), image
            except RadfuseError as error:
                error.add_note(f"while mapping {modality} of {subject.id}")
                raise

    def _surroundings(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        given = parameters.get("voxelSetting") or {}
        outside = float(given.get("initValue", "nan")) if self.outside is None else self.outside
        return {
            "radius": self.kernel_radius or int(given.get("kernelRadius", 1)),
            "masked": bool(given.get("maskedKernel", True)) if self.masked is None else self.masked,
            "outside": outside,
        }

    def _known(self, modality: str) -> list[str]:
        from radfuse.extract.feature_names import feature_names
        from radfuse.extract.voxelwise.maps import computed

        return [name for name in feature_names(json.dumps(parameters_for(modality, self.parameters))) if computed(name)]

    @staticmethod
    def _matches(pattern: str, modality: str, name: str) -> bool:
        return fnmatchcase(name, pattern) or fnmatchcase(column(modality, name), pattern)
