"""A template: an image that every subject is brought to, such as the MNI brain, and the mask that comes with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from radfuse.align.grid import carry
from radfuse.align.registration import Registration
from radfuse.align.tissues import Tissue
from radfuse.component import Frozen, KnownFile
from radfuse.data.deformation import Deformation, Motion, composed, led_back, straight
from radfuse.data.digest import read_known
from radfuse.data.geometry import Geometry
from radfuse.data.reading.images import read_label_map, read_volume
from radfuse.data.subject import Subject
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask, Volume
from radfuse.errors import ConfigError, DataError

HINT = "`sha256sum FILE` tells it."
BENT = ("bspline", "demons")

# Two spaces: the headers do not say where they meet, so the search begins at the middles too, and the gate asks nothing
# of the headers: a scan of part of a head may leave what they had it cover. Of the volume of the 152 subjects' mean
# (1.9 l) a brain has 0.5 to 1: one of 1.6 l came out at 0.83. Across the corners of a head, 150 mm from its middle,
# there and back of an affine map differed by 2 to 9 mm in four sequences.
STARTS = ("headers", "centres", "moments")
GATE = {"headers": "ignored", "max_inverse_mm": 15.0, "max_volume_change": 2.5}


def _suited(given: object) -> object:
    """Fill in, where nothing is said, what suits two spaces better than the defaults for two scans of one patient."""
    settings: Any = {"method": given} if isinstance(given, str) else given
    if not isinstance(settings, Mapping):
        return given
    method = settings.get("method")
    if method in ("rigid", "affine"):
        gate = settings.get("gate") or {}
        return {"starts": STARTS, **settings, "gate": {**GATE, **gate} if isinstance(gate, Mapping) else gate}
    if method in BENT:
        return {**settings, "linear": _suited(settings.get("linear", "affine"))}
    return settings


class Template(Frozen):
    """Bring a scan of every subject to an image of the user's, and with it all that belongs to the subject.

    In the template's space volumes and shapes are the template's: an affine or bent map makes a brain as large as the
    template's brain, and a lesion grows or shrinks with it, as do distances inside it. Features of shape and volume
    then describe the lesion relative to the head; take `space: subject` to measure in millimetres of the patient, with
    no more of the template than its mask.
    """

    image: KnownFile = Field("", description="The template, on any grid: .nii, .nii.gz, .nrrd or .mha.")
    sha256: str = Field("", description="SHA-256 of that file; results are remembered under it.")
    mask: KnownFile = Field("", description="Mask on the template, such as its brain: not zero inside. Empty: none.")
    mask_sha256: str = Field("", description="SHA-256 of the mask's file.")
    modality: str | None = Field(
        None, description="Which scan is brought to it, of the template's contrast at best; none given: the reference."
    )
    registration: Annotated[Registration, BeforeValidator(_suited)] = Field(
        "affine",  # type: ignore[assignment]
        description="How; what is left out suits two spaces: starts at headers, centres and moments, and a gate that "
        "asks nothing of the headers.",
    )
    space: Literal["template", "subject"] = Field(
        "template",
        description="`template`: everything is sampled on a grid over the template. `subject`: everything stays in the "
        "reference's space, and only the template's mask comes back to it.",
    )
    refused: Literal["fail", "headers"] = Field(
        "fail",
        description="A subject whose map the gate refuses: `fail` leaves it out; `headers` trusts its headers, for "
        "images that lie in the template's space already.",
    )

    @model_validator(mode="after")
    def _certain(self) -> Template:
        if not self.image or len(self.sha256) != 64:
            raise ValueError(f"a template needs `image` and its `sha256` (64 hexadecimal digits). {HINT}")
        if bool(self.mask) != bool(self.mask_sha256) or len(self.mask_sha256) not in (0, 64):
            raise ValueError(f"a template's mask needs `mask` and `mask_sha256` (64 hexadecimal digits). {HINT}")
        linear = getattr(self.registration, "linear", self.registration)  # of a bend, what comes before it
        if linear.method == "none" and self.refused == "fail":
            raise ValueError(
                "a template with registration none is taken by the headers, which asks for `refused: headers`"
            )
        return self

    @property
    def stretches(self) -> bool:
        """Whether lengths on the common grid are another measure in every subject."""
        return self.space == "template" and self.registration.method not in ("none", "rigid")

    def read(self) -> Atlas:
        """Read the files, and refuse others than those meant."""
        read_known(Path(self.image), self.sha256, "template", HINT)
        image = read_volume(Path(self.image), "template", "a.u.")
        if not self.mask:
            return Atlas(image, None)
        read_known(Path(self.mask), self.mask_sha256, "template's mask", HINT)
        mask = read_label_map(Path(self.mask)).of(())
        if not mask.voxels:
            raise ConfigError(f"template's mask {self.mask} is empty", hint="It is not zero where the brain is.")
        return Atlas(image, mask)

    def require(self, reference: str | None, registration: Registration) -> None:
        """Raise a ConfigError where the files are missing or other ones, or the way to the reference cannot be turned.

        Parameters
        ----------
        reference, registration : the study's, by which the scans of a subject come together.
        """
        if self.modality not in (None, reference) and registration.method in BENT:
            raise ConfigError(
                f"align.template.modality is {self.modality} and the reference is {reference}: the way from one to the "
                f"other has to be turned round, and align.registration is {registration.method}, which bends",
                hint=f"Let {reference} be brought to the template, or take align.registration rigid or affine.",
            )
        self.read()

    def place(self, subject: Subject, reference: str, within: Mapping[str, Motion]) -> Placed:
        """Find the map from the template's points to a subject's scans; raise a DataError where there is none.

        Parameters
        ----------
        within : from the reference's points to each scan's.
        """
        name, volumes = self.modality or reference, subject.volumes
        if name not in volumes:
            raise DataError(
                f"{subject.id} has no {name}, which is brought to the template; it has {', '.join(volumes)}",
                hint="Choose another align.template.modality, or leave the subject out.",
            )
        atlas = self.read()
        found = self.registration.build()(atlas.image, volumes[name], atlas.mask)
        linear = found.findings.get("linear", found.findings)  # a bend may pass where the map that it bends did not
        if not linear.get("accepted") and self.refused == "fail":
            why = str(found.findings.get("reason", "")).removeprefix("headers kept: ")
            raise DataError(
                f"{name} of {subject.id} could not be brought to the template: {why}",
                hint="Is the template of its contrast, and of the same part of the body? Another align.template."
                "modality or a wider gate (align.template.registration.gate) may do; images that lie in the template's "
                "space already want align.template.refused: headers.",
            )
        to_reference = found.transform
        if name != reference:
            to_reference = composed(found.transform, _turned(within[name]), atlas.image.geometry)
        grid = sampling_grid(atlas.image.geometry, within)
        motions = {other: composed(to_reference, motion, grid) for other, motion in within.items()}
        findings = {"scan": name, "space": self.space, **found.findings, "volume_factor": _factor(to_reference)}
        kept = within if self.space == "subject" else motions
        return Placed(atlas, kept, motions, None if self.space == "subject" else atlas.image.geometry, findings)


@dataclass(frozen=True, eq=False)
class Placed:
    """A subject brought to the template.

    Parameters
    ----------
    transforms : from the common space, which is the template's or the reference's, to each scan's.
    motions : from the template's points to each scan's.
    space : the template's grid, where that is the common space.
    findings : of the registration; ``volume_factor`` is how many times larger things are on the template, for a bend
        without its bending.
    """

    atlas: Atlas
    transforms: Mapping[str, Motion]
    motions: Mapping[str, Motion]
    space: Geometry | None
    findings: dict[str, Any]

    def outlined(self, subject: Subject, tissues: Mapping[str, Tissue]) -> Subject:
        """Draw the template's mask on every scan, where a tissue asks for it and the manifest does not draw it."""
        wanted = [name for name, each in tissues.items() if each.of == "template" and not subject.regions.get(name)]
        if not wanted:
            return subject
        drawn = {name: self.atlas.drawn_on(v.geometry, self.motions[name]) for name, v in subject.volumes.items()}
        return replace(subject, regions={**subject.regions, **dict.fromkeys(wanted, drawn)})


@dataclass(frozen=True, eq=False)
class Atlas:
    """The template's image, and its mask, which may lie on a grid of its own; None where there is none."""

    image: Volume
    mask: Mask | None

    def drawn_on(self, scan: Geometry, motion: Motion) -> Mask:
        """Carry the mask to a scan's own grid.

        Parameters
        ----------
        motion : from the template's points to the scan's.
        """
        if self.mask is None:
            raise ConfigError("the template has no mask", hint="Give align.template.mask.")
        if isinstance(motion, Transform):
            return carry(self.mask, scan, motion.inverse)
        return Mask(np.stack([self._slice(scan, motion, k) for k in range(scan.size[2])]), scan)

    def _slice(self, scan: Geometry, motion: Deformation, k: int) -> Any:
        """Ask the mask where each voxel of a slice comes from, linearly and from one half up, as `carry` does."""
        from scipy.ndimage import map_coordinates

        mask: Any = self.mask
        y, x = np.mgrid[: scan.size[1], : scan.size[0]]
        index = np.stack([x.ravel(), y.ravel(), np.full(x.size, k), np.ones(x.size)], axis=1)
        points = led_back(motion, (index @ scan.index_to_physical.T)[:, :3])
        place = np.c_[points, np.ones(len(points))] @ np.linalg.inv(mask.geometry.index_to_physical).T
        share = map_coordinates(mask.inside.astype(np.float32), place[:, 2::-1].T, order=1, mode="constant")
        return (share >= 0.5).astype(np.uint8).reshape(x.shape)


def _turned(motion: Motion) -> Transform:
    if isinstance(motion, Deformation):
        raise ConfigError("a bend cannot be turned round exactly", hint="Leave align.template.modality out.")
    return motion.inverse


def _factor(motion: Motion) -> float:
    return 1.0 / abs(straight(motion).volume_change)


def sampling_grid(template: Geometry, motions: Mapping[str, Motion]) -> Geometry:
    """Give the grid on which bends are sampled over the template: as fine as the finest of theirs, one step wider."""
    steps = [min(each.grid.spacing_mm) for each in motions.values() if isinstance(each, Deformation)]
    step = min(steps, default=min(template.spacing_mm))
    return template.with_spacing_mm(step, step, step).one_wider()
