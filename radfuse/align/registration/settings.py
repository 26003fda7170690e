"""The settings that several registrations have: where they look, and what a bend may start from."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt

from radfuse.align.registration import Registration


def _straight(linear: Registration) -> Registration:
    if linear.method in ("bspline", "demons"):
        raise ValueError(f"a bend starts from none, rigid or affine; found {linear.method!r}")
    return linear


SearchMm = Annotated[PositiveFloat, Field(description="How far the coarse look over translations reaches.")]
Starts = Annotated[
    tuple[Literal["headers", "centres", "moments"], ...],
    Field(
        min_length=1,
        description="Where the coarse look begins: the headers, centre on centre, centre of mass on centre of mass. "
        "Scans of different sessions may share no space by their headers: add centres and moments.",
    ),
]
TurnsDeg = Annotated[
    tuple[PositiveFloat, ...], Field(description="Turns that the coarse look tries both ways about each axis.")
]
RegionMarginMm = Annotated[
    PositiveFloat | None, Field(description="Look only this far around the region; none given: everywhere.")
]
Points = Annotated[PositiveInt, Field(description="How many points the metric looks at.")]
Seed = Annotated[PositiveInt, Field(description="Decides where those points are.")]
Linear = Annotated[
    Registration,
    AfterValidator(_straight),
    Field(description="What comes before the bend: none, rigid or affine."),
]
