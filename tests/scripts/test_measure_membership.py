"""The study of membership deals real patients, and finds no member where there is none."""

import json
import sys
from pathlib import Path

import pytest

from scripts import measure_membership
from tests.unit.workflows.assessable import make_real


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_real(tmp_path / "real", range(20), range(100, 120))


def test_real_lesions_of_nobody_trained_on_are_dealt_and_attacked(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["measure_membership", "chance", "--dataset", str(dataset), "--patients", "6", "--draws", "2"]
    monkeypatch.setattr(sys, "argv", call)
    assert measure_membership.main() == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["draws"], told["patients"], sum(told["verdicts"].values())) == (2, 6, 2)
    assert "fail" not in told["verdicts"]
