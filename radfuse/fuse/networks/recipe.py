"""The recipe of a training: what its YAML may say."""

from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from radfuse.component import Frozen
from radfuse.fuse.normalisation import DEFAULTS, Normalisation


class Scans(Frozen):
    """Co-registered images of one patient, on one grid."""

    patient: str = Field(min_length=1, description="Who; a patient with several sets of scans is named the same.")
    images: dict[str, Path] = Field(description="Image file by modality; two or more.")


class FusionTraining(Frozen):
    """How the weights of a fusion network are learned; a YAML of `radfuse fusion train`."""

    method: Literal["mdafuse", "mdafuse_published"] = Field("mdafuse", description="Network to train.")
    affine: Literal["column", "channel"] = Field("channel", description="Of mdafuse_published: its affine map.")
    combine: Literal["code", "paper"] = Field("code", description="Of mdafuse_published: its order of combination.")
    volumes: tuple[Scans, ...] = Field((), description="Patients to learn from; empty: phantoms.")
    held_out: tuple[Scans, ...] = Field(
        (), description="Other patients, to judge by; empty: those set aside for validation judge too."
    )
    validation: float = Field(
        0.2, gt=0, lt=1, description="Part of the patients in `volumes` set aside to decide when to stop; at least one."
    )
    phantoms: PositiveInt = Field(24, description="How many phantoms to learn from when no volumes are given.")
    validation_phantoms: PositiveInt = Field(4, description="How many other phantoms decide when to stop.")
    held_out_phantoms: PositiveInt = Field(6, description="How many further phantoms to judge by.")
    normalisation: dict[str, Normalisation] = Field(DEFAULTS, description="As in the fuse stage.")
    steps: PositiveInt = Field(240, description="Updates of the weights at most; the learning rate falls over them.")
    batch: PositiveInt = Field(2, description="Crops in each update.")
    crop: PositiveInt = Field(24, description="Side of what is judged of a crop, voxels; mdafuse sees 18 more.")
    learning_rate: PositiveFloat = Field(3e-3, description="Of AdamW at its peak; follows a cosine down.")
    weight_decay: NonNegativeFloat = Field(1e-4, description="Of AdamW.")
    gradient_weight: NonNegativeFloat = Field(0.0, description="Weight of the edge term; 0 is the paper's loss.")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="Of the convolutions in training; weights, loss and updates are float32."
    )
    validate_every: PositiveInt = Field(30, description="Steps between two looks at the validation crops.")
    validation_crops: PositiveInt = Field(24, description="Crops in each look, always the same.")
    patience: NonNegativeInt = Field(
        5, description="Stop after so many looks without a better one; 0: never. The best weights are kept in any case."
    )
    seed: NonNegativeInt = Field(0, description="Decides first weights, split, phantoms and crops.")
    threads: PositiveInt = Field(1, description="CPU threads; rounding depends on them, so the recipe names them.")

    @model_validator(mode="after")
    def _no_patient_on_two_sides(self) -> Self:
        learnt = {scans.patient for scans in self.volumes}
        both = sorted(learnt & {scans.patient for scans in self.held_out})
        if both:
            raise ValueError(f"{', '.join(both)} would be learned from and held out; a patient is on one side only")
        if self.volumes and len(learnt) < 2:
            raise ValueError("`volumes` needs two patients or more: one of them is set aside to decide when to stop")
        if self.held_out and not self.volumes:
            raise ValueError("`held_out` names patients, but `volumes` names none to learn from")
        owners: dict[Path, str] = {}
        for scans in (*self.volumes, *self.held_out):
            for file in scans.images.values():
                if owners.setdefault(file, scans.patient) != scans.patient:
                    raise ValueError(f"{file} is listed for two patients, {owners[file]} and {scans.patient}")
        return self

    def split(self) -> tuple[tuple[Scans, ...], tuple[Scans, ...]]:
        """Split `volumes` by patient into what is learned from and what decides when to stop.

        The seed and the patients' names decide, not the order of the list.
        """
        patients = sorted({scans.patient for scans in self.volumes})
        count = min(len(patients) - 1, max(1, round(self.validation * len(patients))))
        drawn = np.random.default_rng([self.seed, len(patients)]).permutation(patients)
        aside = set(drawn[:count].tolist())
        return (
            tuple(scans for scans in self.volumes if scans.patient not in aside),
            tuple(scans for scans in self.volumes if scans.patient in aside),
        )
