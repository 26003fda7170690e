"""What would be made of a patient's series: named volumes with their regions, and a line for all that is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from radfuse.data.modality import unit_of
from radfuse.data.reading.dicom.body import Kind
from radfuse.data.reading.dicom.files import File
from radfuse.data.reading.dicom.instance import ENHANCED_PET, IMAGES
from radfuse.data.reading.dicom.rtstruct import read_rtstruct
from radfuse.data.reading.dicom.segmentation import HALF, read_segmentation
from radfuse.data.reading.dicom.series import SKIP, Series, name_of, unusable
from radfuse.data.reading.dicom.structures import Structures, choose, mask_of
from radfuse.data.reading.dicom.volumes import Recipe, plan_volume
from radfuse.data.reading.left_out import LeftOut
from radfuse.data.volume import Mask
from radfuse.errors import ConfigError, DataError

CALIBRATED = "SPECT_SUV"


@dataclass(frozen=True)
class Choices:
    """What the user decides about a source.

    Parameters
    ----------
    modalities : (pattern of the series description, name), the first that fits decides; the name `skip` leaves out.
    rois : names or patterns of the region, in order of preference; empty when each set holds one region.
    join : whether several regions that fit become one.
    suv : what uptake is divided by.
    threshold : the fraction from which a voxel of a fractional segmentation is inside.
    """

    modalities: Sequence[tuple[str, str]] = ()
    rois: Sequence[str] = ()
    join: bool = False
    suv: Kind = "bw"
    threshold: float = HALF


@dataclass(frozen=True)
class Region:
    """Which regions of which structure set or segmentation make a mask; its voxels are read when they are drawn.

    Parameters
    ----------
    kind, file : RTSTRUCT or SEG, and where it is.
    names : of all its regions.
    regions : the ones that are meant.
    threshold : see `Choices`.
    """

    kind: str
    file: File = field(repr=False)
    names: tuple[str, ...]
    regions: tuple[int, ...]
    threshold: float

    @property
    def name(self) -> str:
        """The names of the regions."""
        return "+".join(self.names[region] for region in self.regions)

    def draw(self, recipe: Recipe) -> Mask:
        """Draw the regions on the grid of an image."""
        if self.kind == "RTSTRUCT":
            read: Structures = read_rtstruct(self.file)
        else:
            read = read_segmentation(self.file, self.threshold)
        return mask_of(read, self.regions, recipe.grid, recipe.series.first.frame_of_reference)


@dataclass(frozen=True)
class Drawn:
    """A structure set or segmentation without its voxels, and the series and file it is."""

    series: Series
    file: File
    structures: Structures


@dataclass(frozen=True)
class Planned:
    """One volume to be made, with its region when there is one."""

    modality: str
    recipe: Recipe
    region: Region | None


def plan_patient(
    subject: str, series: Sequence[Series], choices: Choices, *, calibrated: bool = True
) -> tuple[list[Planned], list[LeftOut]]:
    """Decide from the headers what becomes of one patient's series.

    Nothing raises for bad data: what cannot be used is a line, and the rest goes on.
    """
    person = series[0].person
    left: list[LeftOut] = []

    def leave(what: Series | str, why: DataError | str, hint: str = "", *, fault: bool = True) -> None:
        message, advice = (why.message, why.hint) if isinstance(why, DataError) else (why, hint)
        left.append(LeftOut(subject, person.blot(str(what)), person.blot(message), person.blot(advice), fault))

    births = {each.person.birth_date for each in series} - {""}
    if len(births) > 1:
        leave("all series", f"one PatientID has {len(births)} birth dates: two people?", "Correct it at the source.")
        return [], left
    recipes = _recipes(series, choices, leave, calibrated=calibrated)
    sets = _structures(series, leave)
    planned = [Planned(name, recipe, _region(recipe, recipes, sets, choices, leave)) for name, recipe in recipes]
    _orphans(series, sets, leave)
    return sorted(planned, key=lambda each: _rank(each.modality)), left


Leave = Callable[..., None]


def _recipes(series: Sequence[Series], choices: Choices, leave: Leave, *, calibrated: bool) -> list[tuple[str, Recipe]]:
    """Name the image series, and keep those that are sound and alone under their name."""
    named: dict[str, list[Series]] = {}
    for each in series:
        why = unusable(each)
        if why:
            leave(each, why, fault=False)
        elif each.kind in ENHANCED_PET.values():
            leave(
                each, f"{each.kind} is not read: it has its own dose and times", "Export as classic PET, file by slice."
            )
        elif each.kind in IMAGES:
            name = name_of(each, choices.modalities)
            if name.casefold() == SKIP:
                leave(each, "left out by --modality", fault=False)
            else:
                named.setdefault(name, []).append(each)
    recipes = []
    for name, own in named.items():
        sound = []
        for each in own:
            try:
                sound.append((each, plan_volume(each, choices.suv, calibrated=calibrated)))
            except DataError as error:
                leave(each, error)
        if len(sound) > 1:
            hint = "Name or leave out by description: --modality '*words*=NAME', --modality '*words*=skip'."
            if len({each.first.study for each, _ in sound}) > 1:
                hint += " They are of several studies: --per-study makes each study a subject."
            for each, _ in sound:
                leave(each, f"{len(sound)} series would be {name}, and which is meant is not known", hint)
        elif sound:
            recipe = sound[0][1]
            final = CALIBRATED if name == "SPECT" and recipe.unit == "SUV" else name
            _check_unit(final, recipe)
            recipes.append((final, recipe))
    return recipes


def _check_unit(name: str, recipe: Recipe) -> None:
    if unit_of(name) != recipe.unit:
        fitting = {"HU": "CT", "SUV": "PET", "counts": "SPECT", "a.u.": "MR"}[recipe.unit]
        raise ConfigError(
            f"--modality gives a series in {recipe.unit} the name {name!r}, which means {unit_of(name)}",
            hint=f"Let the name begin with {fitting}_, such as {fitting}_{name}.",
        )


def _structures(series: Sequence[Series], leave: Leave) -> list[Drawn]:
    """Look at every structure set and segmentation; each object of a series stands by itself."""
    sets = []
    for each in series:
        for instance in each.instances if each.kind in ("RTSTRUCT", "SEG") else ():
            try:
                read: Structures = (
                    read_rtstruct(instance.file, contours=False)
                    if each.kind == "RTSTRUCT"
                    else read_segmentation(instance.file, frames=False)
                )
            except DataError as error:
                leave(each, error)
            else:
                sets.append(Drawn(each, instance.file, read))
    return sets


def _region(
    recipe: Recipe, recipes: Sequence[tuple[str, Recipe]], sets: Sequence[Drawn], choices: Choices, leave: Leave
) -> Region | None:
    """The one region that is meant on an image: of the sets drawn on it, the one in which the choice fits."""
    fits: list[Region] = []
    refusals: list[tuple[Series, DataError]] = []
    for drawn in sets:
        if not _drawn_on(drawn.structures, recipe, recipes):
            continue
        names = drawn.structures.names
        try:
            chosen = tuple(choose(names, choices.rois, join=choices.join))
        except DataError as error:
            refusals.append((drawn.series, error))
        else:
            fits.append(Region(drawn.series.kind, drawn.file, names, chosen, choices.threshold))
    if len(fits) == 1:
        return fits[0]
    if fits:
        leave(
            f"the mask of {recipe.series}",
            f"{len(fits)} structure sets or segmentations have the region",
            "Keep one of them in the source, or choose by a name that only one has.",
        )
    for series, refusal in refusals if not fits else ():
        leave(f"{series} on {recipe.series}", refusal)
    return None


def _drawn_on(structures: Structures, recipe: Recipe, recipes: Sequence[tuple[str, Recipe]]) -> bool:
    """Whether a set says it was drawn on a series; or names none, and this is the only image in its frame."""
    if structures.series:
        return recipe.series.uid in structures.series
    frame = structures.frame_of_reference
    sharing = [r for _, r in recipes if r.series.first.frame_of_reference == frame]
    return bool(frame) and sharing == [recipe]


def _orphans(series: Sequence[Series], sets: Sequence[Drawn], leave: Leave) -> None:
    present = {each.uid for each in series if each.kind in IMAGES}
    for drawn in sets:
        if drawn.structures.series and not drawn.structures.series & present:
            why = "the images it was drawn on are not in the source"
            leave(drawn.series, why, "Give the image series that it refers to.")


def _rank(modality: str) -> tuple[int, str]:
    order = ("CT", "PET", "SPECT", "MR")
    family = modality.split("_")[0]
    return (order.index(family) if family in order else len(order), modality)
