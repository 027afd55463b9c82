"""The fourth axis of files, where ``--frames cases`` says that each frame is a case."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from medaug.core.errors import DataError
from medaug.ingest.sources import SourceCase
from medaug.io.images import count_frames


def each_frame(cases: Sequence[SourceCase]) -> tuple[SourceCase, ...]:
    """Every frame of a file a case of its own, of the same patient and with the same label; headers alone are read.

    DICOM series, and files whose source names their channels, stay as they are.
    """
    return tuple(part for case in cases for part in _parts(case))


def _parts(case: SourceCase) -> Iterable[SourceCase]:
    count = _frames(case)
    if count < 2:
        return (case,)
    return (_part(case, number) for number in range(count))


def _frames(case: SourceCase) -> int:
    try:
        counts = [
            count_frames(image.files[0])
            for image in case.images
            if image.kind != "dicom" and not image.frames and image.frame is None
        ]
    except DataError:
        # the case will be refused with the reason when it is read
        return 1
    return max(counts, default=1)


def _part(case: SourceCase, number: int) -> SourceCase:
    joint = "_" if case.ids_are_pseudonyms else "/"
    images = tuple(
        image if image.kind == "dicom" or image.frames else replace(image, frame=number)
        for image in case.images
    )
    return replace(case, case_key=f"{case.case_key}{joint}{number:04d}", images=images)
