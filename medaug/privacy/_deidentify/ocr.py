"""Words that Tesseract reads in an image: boxes besides those found by shape. That it reads nothing means nothing."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from medaug.core.errors import DependencyError, IdentifierError
from medaug.privacy._deidentify.writing import Box

_PROGRAM = "tesseract"
# sparse text, in no order; small letters are read better in a larger picture
_MODE, _LARGER, _SECONDS, _LEAST_SURE = "11", 2, 120, 30.0
_WORD_COLUMNS = 12

Shown = UInt8[np.ndarray, "rows columns *samples"]


def text_reader() -> Callable[[Shown], tuple[Box, ...]]:
    """What finds boxes of words in an image.

    Raises:
        DependencyError: If Tesseract is not installed.
    """
    program = shutil.which(_PROGRAM)
    if program is None:
        raise DependencyError(
            "Tesseract is not installed",
            where="clean-pixel-data-ocr",
            hint="apt-get install tesseract-ocr, or choose clean-pixel-data",
        )
    return partial(_read, program)


def _read(program: str, image: Shown) -> tuple[Box, ...]:
    """Boxes of words; the image goes through a pipe and touches no disk."""
    picture = Image.fromarray(np.ascontiguousarray(image))
    packed = io.BytesIO()
    picture.resize((_LARGER * picture.width, _LARGER * picture.height)).save(packed, "PNG", compress_level=1)
    command = [program, "stdin", "stdout", "--psm", _MODE, "--dpi", "150", "tsv"]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            input=packed.getvalue(),
            capture_output=True,
            timeout=_SECONDS,
            check=True,
            env={"OMP_THREAD_LIMIT": "1"},
        )
    except (OSError, subprocess.SubprocessError) as error:
        # its messages may quote what it has read
        raise IdentifierError("text could not be read in the pixels", code="pixels-not-read") from error
    return tuple(box.grown(2, image.shape[:2]) for box in _words(done.stdout.decode("utf-8", "replace")))


def _words(table: str) -> Iterator[Box]:
    for line in table.splitlines()[1:]:
        columns = line.split("\t")
        if len(columns) < _WORD_COLUMNS or float(columns[10]) < _LEAST_SURE:
            continue
        if any(letter.isalnum() for letter in columns[11]):
            left, top, width, height = (int(number) for number in columns[6:10])
            yield Box(
                top // _LARGER,
                left // _LARGER,
                -(-(top + height) // _LARGER),
                -(-(left + width) // _LARGER),
            )
