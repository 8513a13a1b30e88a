"""The seeded bugs still describe this code: each can be planted, and leaves a file that parses."""

import ast

import pytest

from tests.seeded.__main__ import ROOT, plant
from tests.seeded.bugs import BUGS, Bug


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "_"))
def test_a_bug_can_be_planted(bug, tmp_path):
    path = tmp_path / bug.path
    path.parent.mkdir(parents=True)
    path.write_text((ROOT / bug.path).read_text())
    plant(bug, tmp_path)
    ast.parse(path.read_text())
    assert path.read_text() != (ROOT / bug.path).read_text()
    assert all((ROOT / place).exists() for place in bug.tests.split())


def test_what_is_no_longer_there_is_not_planted(tmp_path):
    (tmp_path / "code.py").write_text("x = 1\nx = 1\n")
    for code in ("y = 1", "x = 1"):
        with pytest.raises(LookupError):
            plant(Bug("nothing", "code.py", code, "x = 2", "tests"), tmp_path)


def test_there_are_enough_of_them():
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 20
