"""Words that are read are boxed; without the program, and where it fails, nothing passes."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from medaug.core.errors import DependencyError, IdentifierError
from medaug.privacy._deidentify.ocr import text_reader
from scripts.measure_pixel_writing import covered, draw

DRAWN = draw(np.zeros((120, 400, 3), np.uint8), "Jane Doe 4711", ("DejaVuSans", 26), "white", (40, 60))


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="Tesseract is not installed")
def test_words_are_boxed() -> None:
    mask = covered(text_reader()(DRAWN.image), DRAWN.image.shape)
    assert (mask & DRAWN.ink).sum() > 0.95 * DRAWN.ink.sum()
    assert mask.mean() < 0.3


def test_without_the_program_the_option_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DependencyError, match="Tesseract"):
        text_reader()


def _program(folder: Path, script: str) -> None:
    made = folder / "tesseract"
    made.write_text(f"#!/bin/sh\ncat > /dev/null\n{script}\n", encoding="ascii")
    made.chmod(0o700)


def test_a_program_that_fails_holds_the_file_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, "echo Kowalczyk >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(IdentifierError) as caught:
        text_reader()(DRAWN.image)
    assert caught.value.code == "pixels-not-read"
    assert "Kowalczyk" not in caught.value.line()


def test_only_words_that_were_read_with_some_certainty_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["level\t" * 11 + "text", *(f"5\t1\t1\t1\t1\t1\t{40 * n}\t20\t30\t10\t{sure}\t{word}" for n, sure, word in (
        (1, 96.5, "Jane"), (2, 12.0, "speckle"), (3, 90.0, "~~"), (4, -1, " "),
    ))]  # fmt: skip
    table = tmp_path / "table"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    _program(tmp_path, f"cat {table}")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    [box] = text_reader()(DRAWN.image)
    assert (box.top, box.left, box.bottom, box.right) == (8, 18, 17, 37)
