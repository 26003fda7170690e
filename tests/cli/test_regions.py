"""What is printed of the regions that were foreseen."""

import pytest

from radfuse.cli.regions import print_regions
from radfuse.run.preflight import Foreseen


def test_of_many_regions_those_with_a_remark_and_the_smallest_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    found = [Foreseen(f"P{k:02d}", "main", "CT", "CT", "1", 1000, 900, 900 - k, "9 x 9 x 9") for k in range(20)]
    found[3] = Foreseen("P03", "node", "CT", "CT", "2", 5, 4, 0, "", "no value", "it vanishes")
    found[7] = Foreseen("P07", "main", "PET", "CT", "1", 1000, 900, 700, "9 x 9 x 9", outside=0.2222)
    print_regions(found)
    said = capsys.readouterr().out
    assert "22.2%" in said
    shown = [name for name in (f"P{k:02d}" for k in range(20)) if name in said]
    assert shown == ["P03", "P07", "P15", "P16", "P17", "P18", "P19"]
    assert "no value: it vanishes" in said
    assert "13 more, larger and without a remark: --regions FILE.csv writes every row" in said
    assert "20 region rows of 20 subjects: 0 fail, 1 will have no value, 0 are small" in said


def test_a_few_regions_are_all_shown(capsys: pytest.CaptureFixture[str]) -> None:
    print_regions([Foreseen(f"P{k:02d}", "main") for k in range(12)])
    assert "more, larger" not in capsys.readouterr().out
