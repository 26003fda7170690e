"""Everything that can be known to be wrong without computing: config, manifest, tables, image headers."""

from radfuse.config import Config
from radfuse.data.cohort import Cohort, Problem
from radfuse.data.reading.images import read_geometry
from radfuse.errors import RadfuseError


def problems_of(config: Config) -> list[Problem]:
    """List every fault of a study; headers are read, voxels are not."""
    cohort = config.read_cohort()
    return [*cohort.problems, *_header_problems(cohort), *_batch_problems(cohort)]


def _header_problems(cohort: Cohort) -> list[Problem]:
    problems = []
    for scan in cohort.scans:
        if not scan.image.is_file() or (scan.mask is not None and not scan.mask.is_file()):
            continue  # the cohort has named it already
        try:
            image = read_geometry(scan.image)
            mask = read_geometry(scan.mask) if scan.mask is not None else image
        except RadfuseError as error:
            problems.append(Problem(scan.subject, f"{scan.modality}: {error.message}", error.hint, fatal=False))
            continue
        if not image.matches(mask):
            what = f"{scan.modality} mask and image do not share a grid: {image.differences(mask)}"
            hint = "Within half a voxel align will resample the mask and say so; beyond that the subject fails."
            problems.append(Problem(scan.subject, what, hint, fatal=False))
    return problems


def _batch_problems(cohort: Cohort) -> list[Problem]:
    """A batch of one subject cannot be harmonised; say so before hours of work."""
    problems = []
    for name in [column for column in cohort.subjects.columns if column.startswith("batch.")]:
        counts = cohort.subjects[name].value_counts()
        for label, count in counts[counts < 2].items():
            what = f"{name} {label!r} has {count} subject: ComBat cannot learn its effect"
            problems.append(Problem("", what, "Declare a merge in harmonize.harmonizer.merge.", fatal=False))
    return problems
