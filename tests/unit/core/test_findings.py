"""Findings are made from the catalogue's codes."""

from __future__ import annotations

import json

from medaug.core.errors import GeometryError
from medaug.core.findings import Code, finding


def test_a_finding_carries_its_code_as_plain_text() -> None:
    made = finding(Code.MISSING_SLICE, "refused", "1 slice is missing", "case_0001")
    assert json.loads(made.model_dump_json())["code"] == "missing-slice"


def test_an_error_keeps_its_code_where_it_is_said_of_another_place() -> None:
    error = GeometryError("tilted", expected="upright", code=Code.GANTRY_TILT).located(
        "case_0002", part="image"
    )
    assert error.code == Code.GANTRY_TILT
    assert error.line() == "case_0002: image: tilted; expected upright"
