"""What the linear members share: where they look, how they search, and the gate at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from radfuse.align.registration import Register, Registered
from radfuse.align.registration.context import Contexts
from radfuse.align.registration.gate import POINTS, Gate
from radfuse.align.registration.region import around, carried
from radfuse.align.registration.search import (
    COARSE_BINS,
    COARSE_POINTS,
    JUDGED,
    Objective,
    Start,
    Together,
    anchors,
    apart,
    beside,
    climb,
    coarse,
    rotations,
)
from radfuse.align.registration.similarity import Judge, prepared
from radfuse.data.transform import Transform
from radfuse.data.volume import Mask, Volume

CLIMB_POINTS = 6000
CONTEXT_POINTS = 4000
FINALISTS = 5  # ends of mutual information, between which the contexts decide


class Top(NamedTuple):
    """A map, and the value of both measures there."""

    value: float
    motion: Transform


@dataclass(frozen=True)
class Search:
    """How a linear map is looked for; the fields are those of the members."""

    freedom: Literal["rigid", "affine"]
    search_mm: float
    starts: Sequence[Start]
    turns_deg: Sequence[float]
    region_margin_mm: float | None
    points: int
    seed: int
    min_overlap: float

    def find(self, fixed: Volume, moving: Volume, look: Mask | None) -> Transform:
        """Give the best map between two prepared volumes.

        The headers and the best places of the coarse look are climbed from by mutual information on few points; from
        the ends that lie apart, mutual information on many points and the likeness of contexts are climbed together.
        """
        share = self.min_overlap
        look_at = Objective.of(fixed, moving, COARSE_POINTS, self.seed, COARSE_BINS, look).wanting(share)
        places = coarse(look_at, anchors(fixed, moving, self.starts), rotations(self.turns_deg), self.search_mm)
        rough = Objective.of(fixed, moving, CLIMB_POINTS, self.seed, look=look).wanting(share)
        sharp = Objective.of(fixed, moving, self.points, self.seed, look=look).wanting(share)
        contexts = Contexts.of(fixed, CONTEXT_POINTS, self.seed, look)

        def top(start: Transform, freedom: Literal["rigid", "affine"], tolerance_mm: float) -> Top:
            both = Together(sharp, contexts.near(moving, start, share))
            end = climb(both, start, freedom, tolerance_mm)
            return Top(replace(both, weight=JUDGED)(end), end)

        def best_from(places: Sequence[Transform]) -> Top:
            ends = sorted((climb(rough, place, "rigid", 0.5) for place in places), key=sharp, reverse=True)
            tops = (top(end, "rigid", 0.5) for end in apart(ends, rough.centre_mm)[:FINALISTS])
            return max(tops, key=lambda each: each.value)

        first = best_from([Transform.identity(), *places])
        # Along a limb there are side hills: climb once more from either side, now that the turn is about right.
        other = best_from(beside(first.motion, rough.centre_mm))
        best = first if first.value >= other.value else other
        return top(best.motion, self.freedom, 0.05).motion


def linear(search: Search, gate: Gate) -> Register:
    """Give the function that searches and lets the gate decide."""

    def register(fixed: Volume, moving: Volume, region: Mask | None = None) -> Registered:
        one, other = prepared(fixed), prepared(moving)
        look = around(region, one.geometry, search.region_margin_mm)
        found = search.find(one, other, look)

        def back() -> Transform:
            return search.find(other, one, carried(look, other.geometry, found))

        return gate.judge(Judge.over(one, other, POINTS, look), found, back)

    return register
