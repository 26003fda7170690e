"""Rigid: six degrees of freedom by mutual information, behind a gate."""

from typing import Literal

from pydantic import Field

from radfuse.align.registration import Register, Registration, settings
from radfuse.align.registration.gate import Gate


class Rigid(Registration):
    """Maximise mutual information [Viola & Wells 1997; Maes et al. 1997, doi:10.1109/42.563664], then ask the gate."""

    method: Literal["rigid"] = "rigid"
    gate: Gate = Field(Gate(), description="When the result replaces the alignment of the headers.")
    search_mm: settings.SearchMm = 32.0
    starts: settings.Starts = ("headers",)
    turns_deg: settings.TurnsDeg = (15.0, 30.0)
    region_margin_mm: settings.RegionMarginMm = None
    points: settings.Points = 20_000
    seed: settings.Seed = 1

    def build(self) -> Register:
        """Give the function; it runs on one thread and repeats exactly."""
        from radfuse.align.registration.linear import Search, linear

        search = Search(
            freedom="rigid",
            search_mm=self.search_mm,
            starts=self.starts,
            turns_deg=self.turns_deg,
            region_margin_mm=self.region_margin_mm,
            points=self.points,
            seed=self.seed,
            min_overlap=self.gate.min_overlap,
        )
        return linear(search, self.gate)

    @property
    def needs_shared_space(self) -> bool:
        """Whether scans that share no part of space by their headers are beyond it."""
        return self.starts == ("headers",)
