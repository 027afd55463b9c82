"""DICOM series opened as the command line wants them: the stacks of each, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from medaug.core.errors import DataError, DependencyError, GeometryError
from medaug.core.findings import Code
from medaug.core.wording import counted
from medaug.ingest.sources import Choices, ImageSource
from medaug.io.dicom import Stack, open_files, open_series
from medaug.io.headers import Series


@final
@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A stack of a series, or a series that is refused.

    Attributes:
        series: All of it.
        stack: None where the series is refused as a whole.
        fault: Why the series, or this stack of it, is refused.
    """

    series: Series
    stack: Stack | None
    fault: DataError | DependencyError | None = None

    @property
    def key(self) -> str:
        """What tells the case from all others; private."""
        part = self.stack.part if self.stack is not None else ""
        return f"{self.series.first.series_uid}/{part}" if part else self.series.first.series_uid

    @property
    def instance_uids(self) -> frozenset[str]:
        """Of its images; private."""
        if self.stack is None:
            return frozenset(header.sop_instance_uid for header in self.series.headers) - {""}
        return frozenset(frame.instance_uid for frames in self.stack.volumes for frame in frames) - {""}

    @property
    def image(self) -> ImageSource:
        """What the case is read from."""
        if self.stack is None:
            return ImageSource("dicom", self.series.files)
        several = self.stack.channels if len(self.stack.channels) > 1 else ()
        return ImageSource("dicom", self.stack.files, frames=several, stack=self.stack)


def opened(series: Series, choices: Choices) -> tuple[Opened, ...]:
    """The cases that a series makes."""
    try:
        stacks = open_series(series, tilt=choices.tilt, split_volumes=choices.frames == "cases")
        return tuple(Opened(series, _chosen(stack, choices), _question(stack, choices)) for stack in stacks)
    except (DataError, DependencyError) as error:
        return (Opened(series, None, error),)


def _question(stack: Stack, choices: Choices) -> DataError | None:
    """Why a stack is refused until the command line says more: nothing tells what the pictures of a cine are to be."""
    if choices.frames is not None or not stack.is_cine:
        return None
    return GeometryError(
        f"cine holds {len(stack.volumes)} pictures",
        hint="say --frames channels, --frames cases or --frames NUMBER",
        code=Code.FOUR_AXES,
    )


def only_stack(files: Sequence[Path], choices: Choices) -> Stack:
    """The one stack that files form, which a table calls one image.

    Raises:
        DataError: If they form several, or none.
        DependencyError: If the transfer syntax needs a plugin that is not installed.
    """
    stacks = open_files(files, tilt=choices.tilt)
    if len(stacks) > 1:
        what = f"files of one image form {counted(len(stacks), 'stack')} of slices"
        raise DataError(what, expected="one", hint="give each a row of its own", code=Code.SEVERAL_VOLUMES)
    question = _question(stacks[0], choices)
    if question is not None:
        raise question
    return _chosen(stacks[0], choices)


def _chosen(stack: Stack, choices: Choices) -> Stack:
    """The stack, or the one of its volumes that was asked for."""
    number = choices.frames
    if not isinstance(number, int) or len(stack.volumes) == 1:
        return stack
    if number >= len(stack.volumes):
        what = f"there is no volume {number}"
        raise DataError(what, expected=f"0 to {len(stack.volumes) - 1}", code=Code.FOUR_AXES)
    return stack.volume(number)
