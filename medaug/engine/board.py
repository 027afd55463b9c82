"""TensorBoard curves of a training; the only file that imports TensorBoard."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, final

from medaug.core.errors import DependencyError

BOARD = "tensorboard"


@final
class Board:
    """Hears a run's log and shows its figures; use :func:`open_board`."""

    def __init__(self, writer: Any) -> None:  # noqa: ANN401 (a SummaryWriter, which may not be installed)
        self._writer = writer

    def hear(self, event: str, figures: Mapping[str, float | int | str]) -> None:
        """Add the figures of a step."""
        step = figures.get("step")
        for name, value in figures.items():
            if name != "step" and isinstance(value, int | float):
                self._writer.add_scalar(f"{event}/{name}", value, step)


def require_board() -> ModuleType:
    """The module that writes boards.

    Raises:
        DependencyError: If TensorBoard is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of its own dependencies
            return importlib.import_module("torch.utils.tensorboard")
    except ImportError as error:
        hint = "install it with `pip install medaug[tensorboard]`"
        raise DependencyError("--tensorboard needs tensorboard", hint=hint) from error


@contextmanager
def open_board(run_path: Path) -> Iterator[Board]:
    """A board that writes into ``tensorboard/`` of a run folder; look at it with ``tensorboard --logdir RUN``.

    Raises:
        DependencyError: If TensorBoard is not installed.
    """
    writer = require_board().SummaryWriter(str(run_path / BOARD))
    try:
        yield Board(writer)
    finally:
        writer.close()
