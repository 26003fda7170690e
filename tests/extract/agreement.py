"""Measure with both extractors, and compare."""

from radfuse.extract.agreement import differences, tolerance
from radfuse.extract.fast import Fast
from radfuse.extract.pyradiomics import PyRadiomics

REMARKS = ("Mean of empty slice",)


def said(measured, name):
    """Give a diagnostic, without the remarks on rounding and on empty means that make no difference."""
    return without_remarks(measured.diagnostics[name])


def without_remarks(text):
    return "; ".join(part for part in text.split("; ") if "eigenvalue" not in part and part not in REMARKS)


def assert_agree(parameters, volume, mask, native=None, **settings):
    """Demand the same names, values, problems and diagnostics. Give the fast answer."""
    expected = PyRadiomics().build(parameters)(volume, mask)
    found = Fast(**settings).build(parameters)(volume, mask)
    assert list(found.values) == list(expected.values)
    apart = differences(found.values, expected.values)
    wrong = {n: (found.values[n], expected.values[n]) for n in apart if not apart[n] <= tolerance(n)}
    assert wrong == {}
    problems = [{name: without_remarks(text) for name, text in each.problems.items()} for each in (found, expected)]
    assert problems[0] == problems[1]
    for name in expected.diagnostics:
        if "FAILED" not in expected.diagnostics[name]:  # a traceback
            assert said(found, name) == said(expected, name), name
    if native is not None:
        by_pyradiomics = found.diagnostics["diagnostics_radfuse_ByPyRadiomics"]
        assert native == (by_pyradiomics == ""), by_pyradiomics
    return found
