"""Rigid: six degrees of freedom by mutual information, behind a gate."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from radfuse.align.registration import Register, Registration
from radfuse.align.registration.gate import Gate


class Rigid(Registration):
    """Maximise mutual information [Viola & Wells 1997; Maes et al. 1997, doi:10.1109/42.563664], then ask the gate."""

    method: Literal["rigid"] = "rigid"
    gate: Gate = Field(Gate(), description="When the result replaces the alignment of the headers.")
    search_mm: PositiveFloat = Field(32.0, description="How far the coarse look over translations reaches.")
    starts: tuple[Literal["headers", "centres", "moments"], ...] = Field(
        ("headers",),
        min_length=1,
        description="Where the coarse look begins: the headers, centre on centre, centre of mass on centre of mass. "
        "Scans of different sessions may share no space by their headers: add centres and moments.",
    )
    turns_deg: tuple[PositiveFloat, ...] = Field(
        (15.0, 30.0), description="Turns that the coarse look tries both ways about each axis."
    )
    region_margin_mm: PositiveFloat | None = Field(
        None, description="Look only this far around the region; none given: everywhere."
    )
    points: PositiveInt = Field(20_000, description="How many points the metric looks at.")
    seed: PositiveInt = Field(1, description="Decides where those points are.")

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
