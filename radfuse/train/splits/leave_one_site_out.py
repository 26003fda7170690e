"""Leave one site out: each site validates once, by models that were trained on all the others."""

from collections.abc import Sequence
from typing import Any, Literal, Self

import pandas as pd
from pydantic import Field, field_validator

from radfuse.data.table import BATCH, GROUP, OUTCOME, FeatureTable
from radfuse.errors import ConfigError
from radfuse.train.splits import COLUMNS, SITE, Splits

BATCHES = "batch.*"
ANOTHER = "Name a batch (`batch.<modality>`) or a column of the subjects' table in train.splits.site."


class LeaveOneSiteOut(Splits):
    """Each site validates once, by models that were trained on all the others; nothing is drawn.

    A site with one outcome only has no pair to compare, so its AUC is NaN and the mean is over the others. Nothing
    here decides what a harmoniser does to a site that it never saw: `harmonize.harmonizer.unseen` does, and a training
    whose left-out rows are of unseen batches wants it said.
    """

    method: Literal["leave_one_site_out"] = "leave_one_site_out"
    site: str = Field(
        BATCHES,
        description="The column that tells the site: `batch.<modality>`, or one of the subjects' table; default: the "
        "batches, where those of all modalities agree.",
    )

    @field_validator("site")
    @classmethod
    def _is_a_place(cls, site: str) -> str:
        if site in (OUTCOME, GROUP, ""):
            raise ValueError(f"{site!r} tells no site. {ANOTHER}")
        return site

    @property
    def rounds(self) -> int:
        """Every subject validates once."""
        return 1

    @property
    def facts(self) -> tuple[str, ...]:
        """The column of sites, for the table to carry it."""
        return () if self.site.startswith(BATCH) else (self.site,)

    def repeated(self, repeats: int) -> Self:
        """Give the same splits: there is nothing to repeat."""
        return self

    def strata(self, subjects: pd.DataFrame) -> pd.Series:
        """Give the site of each subject: outcomes change places within a site, so that its prevalence stays."""
        return self.sites(subjects)

    def require(self, subjects: pd.DataFrame) -> None:
        """Raise a ConfigError where there are no two sites, a patient is in two, or nothing is left to learn from."""
        sites, outcome = self.sites(subjects), subjects[OUTCOME]
        if sites.nunique() < 2:
            raise ConfigError(
                f"all {len(sites)} subjects are of one site, {self.site} {sites.iloc[0]!r}: none can be left out",
                hint=ANOTHER,
            )
        self._require_whole_groups(subjects, sites)
        of_site = outcome.groupby(sites)
        for name, part in of_site:
            rest = outcome[sites != name]
            if rest.nunique() < 2:
                raise ConfigError(
                    f"without the site {name!r} ({len(part)} subjects) all {len(rest)} others have outcome "
                    f"{rest.iloc[0]}: nothing is left to learn from",
                    hint="Merge small sites in the subjects' table, or use stratified folds.",
                )
        if not (of_site.nunique() > 1).any():
            raise ConfigError(
                f"each of the {sites.nunique()} sites of {self.site} has one outcome only: no site has a pair to judge",
                hint=ANOTHER,
            )

    def __call__(self, table: FeatureTable) -> pd.DataFrame:
        """Give every subject the number of its site, in alphabetical order, as its fold: repeat 0, and the site."""
        subjects = table.subjects.assign(**{OUTCOME: table.outcome})
        self.require(subjects)
        sites = self.sites(subjects)
        fold = pd.Categorical(sites, categories=sorted(sites.unique())).codes.astype(int)
        drawn = pd.DataFrame({"subject": table.values.index, "repeat": 0, "fold": fold, SITE: sites.to_numpy()})
        return drawn[[*COLUMNS, SITE]]

    def sites(self, subjects: pd.DataFrame) -> pd.Series:
        """Give the site of each subject as text."""
        if self.site == BATCHES:
            column = self._common(subjects)
        elif self.site in subjects:
            column = subjects[self.site]
        else:
            known = [str(name) for name in subjects if name not in (OUTCOME, GROUP)]
            raise ConfigError(
                f"train.splits.site names {self.site!r}, which is not among the subjects' columns; "
                f"found {', '.join(known) or 'none'}",
                hint=ANOTHER,
            )
        found = column.map(_text)
        empty = [str(subject) for subject in found.index[found == ""]]
        if empty:
            raise ConfigError(
                f"{column.name} is empty for {_some(empty)}, so their site is not known",
                hint="Give every subject a site; an honest one is UNKNOWN.",
            )
        return found

    def _common(self, subjects: pd.DataFrame) -> pd.Series:
        names = [str(name) for name in subjects if str(name).startswith(BATCH)]
        labels = [subjects[name].map(_text).tolist() for name in names]
        if not names or any(each != labels[0] for each in labels):
            told = f"differ: {', '.join(names)}" if names else "are not declared"
            raise ConfigError(
                f"which site is left out is not said, and the batches of the modalities {told}", hint=ANOTHER
            )
        return subjects[names[0]]

    def _require_whole_groups(self, subjects: pd.DataFrame, sites: pd.Series) -> None:
        if GROUP not in subjects:
            return
        several = sites.groupby(subjects[GROUP].astype(str)).agg(lambda own: sorted(set(own)))
        torn = several[several.map(len) > 1]
        if len(torn):
            told = _some([f"{group} ({' and '.join(own)})" for group, own in torn.items()])
            raise ConfigError(
                f"{len(torn)} of {len(several)} groups are in more than one site, and would be in training and in "
                f"validation at once: {told}",
                hint="Leave their rows of all sites but one out, or use stratified folds.",
            )


def _text(value: Any) -> str:
    """Read 1 and 1.0 alike: a column of whole numbers with one of them missing becomes floats."""
    if pd.isna(value):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
