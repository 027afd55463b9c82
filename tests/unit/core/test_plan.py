"""JSON Lines that a person can read and edit."""

from pathlib import Path

import pytest

from medaug.core.errors import DataError
from medaug.core.plan import PlannedLesion, read_lines, write_lines


def test_round_trip_and_the_number_of_a_broken_line(tmp_path: Path) -> None:
    rows = tuple(PlannedLesion(case_id=f"s{n}", host_case_id="h", class_name="gg", seed=n) for n in range(3))
    write_lines(tmp_path / "plan.jsonl", rows)
    assert read_lines(tmp_path / "plan.jsonl", PlannedLesion) == rows
    with (tmp_path / "plan.jsonl").open("a") as handle:
        handle.write('{"case_id": "s3"}\n')
    with pytest.raises(DataError, match="line 4: host_case_id"):
        read_lines(tmp_path / "plan.jsonl", PlannedLesion)
