"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import jaxtyping
import pytest

from tests import shapes

# The tests' arrays are tiny: more threads would only wait for each other.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# No test sees whether a file would outlast a loss of power, and each waits for the disk dozens of times.
os.fsync = os.fstat  # type: ignore[assignment]
# What --jaxtyping-packages writes above every function of the library that is imported from here on.
jaxtyping.jaxtyped = shapes.of_arrays  # type: ignore[assignment]


@pytest.fixture(scope="session")
def medaug_data() -> Path:
    """The folder of larger real data sets, named by MEDAUG_DATA; the test is skipped where there is none."""
    named = os.environ.get("MEDAUG_DATA")
    if not named:
        pytest.skip("MEDAUG_DATA names no folder of real data sets")
    folder = Path(named)
    if not folder.is_dir():
        pytest.fail(f"MEDAUG_DATA names {named}, which is not a folder")
    return folder.resolve()
