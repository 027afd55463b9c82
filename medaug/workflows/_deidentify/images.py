"""NIfTI images, with the sidecars and gradients that stand beside them: told by name, cleaned one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, final

from medaug.core.errors import UnreadableError
from medaug.privacy.nifti import clean_gradients, clean_nifti, clean_sidecar
from medaug.privacy.nifti_names import ImageNames, split_name
from medaug.workflows._deidentify.work import Done, Rules, put, read_content, take_back

FACE: Final = "face-not-looked-at"
_OWN: Final = "own-output"
_IMAGES: Final = (".nii", ".nii.gz")


@final
@dataclass(frozen=True, slots=True)
class ImageTask:
    """A NIfTI image or what stands beside one.

    Attributes:
        path: Of the source.
        name: Relative to the output.
        suffix: Which of the kinds it is.
        series: Folder and stem, which an image has in common with what stands beside it.
        is_own_name: Whether it bears its pseudonym already.
    """

    path: Path
    name: str
    suffix: str
    series: tuple[Path, str]
    is_own_name: bool

    @property
    def is_image(self) -> bool:
        """Whether it holds voxels."""
        return self.suffix in _IMAGES


def plan_images(rules: Rules, source: Path, paths: Sequence[Path]) -> dict[Path, ImageTask | Done]:
    """What is to become of all files with names of NIfTI and its companions; other files are not in it."""
    names, taken = ImageNames(rules.secret), set[str]()
    planned: dict[Path, ImageTask | Done] = {}
    for path in paths:
        stem, suffix = split_name(path.name)
        if not suffix:
            continue
        given = path.relative_to(source) if path != source else Path(path.name)
        name = names.path(given)
        # names that differ in capitals of their suffix alone
        planned[path] = (
            Done("refused", ("name-taken",))
            if name in taken
            else ImageTask(path, name, suffix, (path.parent, stem), name == given.as_posix())
        )
        taken.add(name)
    series = {task.series for task in planned.values() if isinstance(task, ImageTask) and task.is_image}
    return {
        path: Done("refused", ("no-image-beside",))
        if isinstance(task, ImageTask) and task.series not in series
        else task
        for path, task in planned.items()
    }


def clean_images(rules: Rules, tasks: Sequence[ImageTask]) -> list[Done]:
    """Clean files and write what can be made safe.

    Raises:
        StorageError: If one cannot be written, or a link leads out of the output.
    """
    return [put(rules.out, task.name, partial(_made, task)) for task in tasks]


def leave_out(rules: Rules, task: ImageTask) -> Done:
    """What becomes of a companion whose image was not written.

    Raises:
        StorageError: If what an earlier call wrote cannot be removed.
    """
    take_back(rules.out, task.name)
    return Done("quarantined", ("image-not-written",))


def _made(task: ImageTask) -> tuple[bytes, tuple[str, ...]]:
    content = read_content(task.path)
    clean, said = _cleaned(content, task.suffix)
    return clean, (_OWN, *said) if task.is_own_name and clean == content else said


def _cleaned(content: bytes, suffix: str) -> tuple[bytes, tuple[str, ...]]:
    if suffix in _IMAGES:
        return clean_nifti(content, packed=suffix == ".nii.gz"), (FACE,)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError("file is no text", code="damaged-file") from error
    if suffix != ".json":
        return clean_gradients(text).encode("ascii"), ()
    clean, gone = clean_sidecar(text)
    return clean.encode("utf-8"), (f"fields-removed:{len(gone)}",) if gone else ()
