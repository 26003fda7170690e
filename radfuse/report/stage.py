"""The report stage: a study becomes one self-contained page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from radfuse.component import Stage
from radfuse.data.study import Study


@dataclass(frozen=True)
class Page:
    """What the report is.

    Parameters
    ----------
    html : the whole page; it loads nothing and holds no script.
    files : for a paper or a slide, by name: the same charts, the methods paragraph, the checklists.
    """

    html: str
    files: dict[str, bytes]


class Report(Stage):
    """Write the study as one HTML page: the answer in words, then the evidence for and against it."""

    name: ClassVar[str] = "report"
    version: ClassVar[int] = 1

    title: str | None = Field(None, description="Headline of the page; none given: the study's name.")
    examples: NonNegativeInt = Field(6, description="How many subjects are shown slice by slice.")
    registration_error_mm: PositiveFloat | None = Field(
        None,
        description="How far a scan may lie beside its region, for what that does to its mean; none given: the "
        "inverse consistency of its registration / sqrt(2), or 2 mm where the headers were kept.",
    )
    resamples: PositiveInt = Field(200, description="Resamples of the patients behind the bands of the ROC curves.")
    seed: NonNegativeInt = Field(0, description="Decides those resamples.")

    def __call__(self, study: Study) -> Page:
        """Compose the page.

        Parameters
        ----------
        study : what ran; a part that is absent is said to be absent. The same study gives the same bytes.
        """
        from radfuse.report.page import compose

        html, files = compose(study, self.title or study.name, self.examples, self.resamples, self.seed)
        return Page(html, files)
