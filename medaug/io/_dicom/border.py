"""The border to pydicom: what it raises on damaged files, and how it is kept quiet."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pydicom.config import IGNORE
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import UID

# What pydicom and its plugins raise on damaged files; each is turned into one clear line where it is caught.
PYDICOM_ERRORS: Final = (
    AttributeError,
    BytesLengthException,
    EOFError,
    IndexError,
    InvalidDicomError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
_LOGGERS: Final = tuple(logging.getLogger(name) for name in ("pydicom", "highdicom"))


def uid_of(text: str) -> UID:
    """A UID as a file gives it; one that is none draws no warning, which would quote it."""
    return UID(text, IGNORE)


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Silence pydicom's and highdicom's own warnings, which quote values and paths that may identify a patient.

    What matters of them is checked by the caller and raised, or becomes a finding.
    """
    levels = [logger.level for logger in _LOGGERS]
    if min(levels) > logging.CRITICAL:
        # already quiet: this is cheap enough for every file of many
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"pydicom\..*")
        warnings.filterwarnings("ignore", module=r"highdicom\..*")
        try:
            for logger in _LOGGERS:
                logger.setLevel(logging.CRITICAL + 1)
            yield
        finally:
            for logger, level in zip(_LOGGERS, levels, strict=True):
                logger.setLevel(level)
