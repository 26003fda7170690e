"""The columns that IBSI-1 has and PyRadiomics has not."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from radfuse.extract.ibsi1.catalogue import Feature, features, split_tag
from radfuse.extract.ibsi1.conformed import Conformed

# The manual's authors reached no agreement on these, so there is nothing to check them against.
WITHOUT_REFERENCE = frozenset(
    {
        "morph_vol_dens_ombb", "morph_area_dens_ombb", "morph_vol_dens_mvee", "morph_area_dens_mvee",
        "ivh_auc",
    }
)  # fmt: skip
BY_DIRECTION = ("cm", "rlm")
BY_NEIGHBOURHOOD = ("szm", "dzm", "ngt", "ngl")


@dataclass(frozen=True)
class Added:
    """Which columns are added to PyRadiomics', and how they are computed.

    Parameters
    ----------
    families : whether the features that PyRadiomics lacks are computed.
    flat : whether texture stays within slices.
    mergings : further ways to merge texture, each with columns of its own, such as ``2D_avg``.
    """

    families: bool
    flat: bool
    mergings: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The added columns, in order."""
        return tuple(dict.fromkeys(name for name, _ in self._columns()))

    def measure(self, conformed: Conformed) -> tuple[dict[str, float], dict[str, str]]:
        """Give the added columns, and why a value is missing."""
        columns = list(self._columns())
        if not columns:
            return {}, {}
        found = by_tag(conformed, [tag for _, tag in columns])
        values = {name: float(found.get(tag, float("nan"))) for name, tag in columns}
        missing = {name: "the region has no such value" for name, value in values.items() if value != value}
        return values, missing

    def _columns(self) -> Iterator[tuple[str, str]]:
        """Give column and tag of every added feature."""
        dimension = "2_5D" if self.flat else "3D"
        for feature in features().values():
            if self.families and feature.added and feature.tag not in WITHOUT_REFERENCE:
                yield f"original_{feature.name}", tag_of(feature, f"{dimension}_avg")
            for merging in self.mergings:
                tag = tag_of(feature, merging)
                if tag != feature.tag:
                    yield f"original_{feature.name}_{split_tag(tag)[1]}", tag


def tag_of(feature: Feature, merging: str) -> str:
    """Give the tag of a feature under a merging: runs and pairs have directions to merge, the rest only slices.

    Examples
    --------
    >>> tag_of(features()["dzm_sde"], "2_5D_avg"), tag_of(features()["stat_mean"], "3D_avg")
    ('dzm_sde_2_5D', 'stat_mean')
    """
    kind = feature.tag.partition("_")[0]
    if kind in BY_DIRECTION:
        return f"{feature.tag}_{merging}"
    if kind in BY_NEIGHBOURHOOD:
        return f"{feature.tag}_{merging.removesuffix('_avg').removesuffix('_comb')}"
    return feature.tag


def dimension_of(tag: str) -> str:
    """Give the dimension of a texture tag, ``2D``, ``2_5D`` or ``3D``; empty for other features."""
    return split_tag(tag)[1].removesuffix("_avg").removesuffix("_comb")


def by_tag(conformed: Conformed, tags: Iterable[str]) -> dict[str, float]:
    """Give features by their tags, computing no family and no dimension that is not asked for."""
    from radfuse.extract.ibsi1.families import measure

    wanted: dict[str, set[str]] = {}
    for tag in tags:
        wanted.setdefault(dimension_of(tag), set()).add(tag.partition("_")[0])
    found: dict[str, float] = {}
    for dimension, families in sorted(wanted.items()):
        found |= measure(conformed, sorted(families), (dimension,))
    return found
