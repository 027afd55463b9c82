"""The table of made-up heads says what became of each."""

import pytest

from scripts.measure_defacing import heads


def test_a_line_a_head(capsys: pytest.CaptureFixture[str]) -> None:
    heads(["stripped"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("| stripped | nothing: skull-stripped | 0 |") for line in lines[2:])
