"""Everything that can be known to be wrong without computing: config, manifest, tables, image headers, masks."""

from radfuse.config import Config
from radfuse.data.cohort import Cohort, Problem
from radfuse.data.reading.images import read_geometry
from radfuse.data.table import OUTCOME
from radfuse.errors import ConfigError, RadfuseError
from radfuse.run.external import external_problems
from radfuse.run.idle_settings import idle_settings
from radfuse.run.ledger import eligible
from radfuse.run.left_out import unsaid_problems
from radfuse.run.preflight import Foreseen, foresee_regions, region_problems
from radfuse.run.session import settled
from radfuse.run.tissues import require_tools


def problems_of(config: Config) -> list[Problem]:
    """List every fault of a study; headers are read, voxels are not."""
    cohort = config.read_cohort()
    found = [
        *cohort.problems,
        *idle_settings(config),
        *_absent_files(config),
        *_header_problems(cohort),
        *_batch_problems(cohort),
        *outcome_problems(config, cohort),
    ]
    return list(dict.fromkeys([*found, *region_problems(config, cohort), *external_problems(config)]))


def regions_of(config: Config) -> list[Foreseen]:
    """Say what becomes of every region of a study that could start; masks are read, images are not."""
    cohort = config.read_cohort()
    if cohort.fatal or any(problem.fatal for problem in region_problems(config, cohort)):
        return []
    return foresee_regions(settled(config, cohort), cohort, eligible(config, cohort))


def outcome_problems(config: Config, cohort: Cohort) -> list[Problem]:
    """Patients who cannot be split, such as too few of one outcome, and sites left out that nobody thought of.

    It is all in the tables, so nobody should compute before knowing.
    """
    out = {problem.subject for problem in cohort.problems if not problem.absent}
    kept = cohort.subjects[~cohort.subjects.index.isin(out)]
    facts = kept if len(kept) else cohort.subjects
    if OUTCOME not in facts or any(problem.fatal for problem in cohort.problems):
        return []
    name, present = config.cohort.outcome, facts[OUTCOME].unique()
    if len(present) == 1:
        return [Problem("", f"{name} is {present[0]} for all {len(facts)} subjects: there is nothing to predict")]
    try:
        config.train.splits.require(facts)
    except ConfigError as error:
        return [Problem("", error.message, error.hint)]
    return unsaid_problems(config, facts)


def _absent_files(config: Config) -> list[Problem]:
    """A file or a program that align or fuse needs, and that is not there or another one."""
    problems = []
    for require in (config.align.require, lambda: require_tools(config.align), config.fuse.require):
        try:
            require()
        except RadfuseError as error:
            problems.append(Problem("", error.message, error.hint))
    return problems


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
            hint = (
                "Do both belong to one scan of one patient? Within half a voxel align will resample the mask and say "
                "so; beyond that the subject fails."
            )
            problems.append(Problem(scan.subject, what, hint, fatal=False))
    return problems


def _batch_problems(cohort: Cohort) -> list[Problem]:
    """A batch of one subject cannot be harmonised; say so before hours of work."""
    problems = []
    for name in [column for column in cohort.subjects.columns if column.startswith("batch.")]:
        counts = cohort.subjects[name].value_counts()
        for label, count in counts[counts < 2].items():
            what = f"{name} {label!r} has {count} subject, too few for ComBat: its values stay as they are"
            hint = f"Or count it as another batch: harmonize.harmonizer.merge: {{{label}: largest}}."
            problems.append(Problem("", what, hint, fatal=False))
    return problems
