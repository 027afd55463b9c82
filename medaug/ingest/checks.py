"""One function for each thing that can be odd about a case: a Finding with its code and severity, or nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from medaug.core.case import CaseRecord, Origin
from medaug.core.errors import DataError, DependencyError, GeometryError, LabelError, UnreadableError
from medaug.core.findings import Code, Finding, Severity, finding
from medaug.core.geometry import Grid
from medaug.core.volume import Volume
from medaug.core.wording import counted

_SUSPECT_ANISOTROPY = 4.0
_LONGEST_AXIS = 32_767
_GRID_TOLERANCE = 0.05
_HIGHEST_LABEL = 255
_MOST_LABELS = 16


def check_dependency(error: DependencyError, case_id: str) -> Finding:
    """``dependency-missing``: a file of the case needs a package that is not installed."""
    message = f"{error.located('').line()}, then ingest again into a new folder"
    return _finding(Code.DEPENDENCY_MISSING, "refused", case_id, message)


def check_readable(error: DataError, case_id: str) -> Finding:
    """What a reader refused, in its own words: the code it gave, else ``unreadable``, ``geometry``, ``label`` or ``data``."""
    kinds = {UnreadableError: Code.UNREADABLE, GeometryError: Code.GEOMETRY, LabelError: Code.LABEL}
    code = Code(error.code) if error.code else kinds.get(type(error), Code.DATA)
    return _finding(code, "refused", case_id, error.located("").line())


def check_stated(problem: str, case_id: str, code: str = "") -> Finding | None:
    """``source-row``, or the code given: what the source says of the case makes no sense."""
    return _finding(Code(code or Code.SOURCE_ROW), "refused", case_id, problem) if problem else None


def check_finite(volume: Volume, case_id: str) -> Finding | None:
    """``not-finite``: NaN or infinite voxels."""
    count = int(volume.image.size - np.count_nonzero(np.isfinite(volume.image)))
    if not count:
        return None
    held = counted(count, "value")
    message = f"image holds {held} that {'is' if count == 1 else 'are'} not finite; replace at the source"
    return _finding(Code.NOT_FINITE, "refused", case_id, message)


def check_size(grid: Grid, case_id: str) -> Finding | None:
    """``absurd-size``: an axis longer than NIfTI-1 files can hold (nifti1.h: ``short dim[8]``)."""
    if max(grid.shape) <= _LONGEST_AXIS:
        return None
    message = f"image has {max(grid.shape)} voxels along an axis; datasets hold at most {_LONGEST_AXIS}"
    return _finding(Code.ABSURD_SIZE, "refused", case_id, message)


def check_constant(volume: Volume, case_id: str, *, labelled: bool) -> Finding | None:
    """``constant-image``: a channel that is the same everywhere shows nothing; refused where something is to be learnt."""
    for name, channel in zip(volume.channels, volume.image, strict=True):
        if float(channel.min()) == float(channel.max()):
            which = f"channel {name}" if len(volume.channels) > 1 else "image"
            message = f"{which} has one value everywhere; export it again"
            return _finding(Code.CONSTANT_IMAGE, "refused" if labelled else "flagged", case_id, message)
    return None


def check_label_like(volume: Volume, case_id: str) -> Finding | None:
    """``label-like``: an image of a few small whole numbers may be a label map that paired with nothing."""
    image = volume.image
    if (
        float(image.min()) < 0
        or float(image.max()) > _HIGHEST_LABEL
        or not bool((image == np.rint(image)).all())
    ):
        return None
    count = np.count_nonzero(np.bincount(image.astype(np.uint8).ravel()))
    if count > _MOST_LABELS:
        return None
    message = (
        f"image holds {count} different whole numbers only, as label maps do; if it is one, rename it so that it "
        "pairs with its image"
    )
    return _finding(Code.LABEL_LIKE, "flagged", case_id, message)


def same_grid(first: Grid, second: Grid) -> bool:
    """Whether two files share a grid, up to the rounding of affines in file headers (a twentieth of a voxel)."""
    return first.agrees_with(second, tolerance_mm=_GRID_TOLERANCE * min(first.spacing_mm))


def check_channel_grids(grids: Sequence[Grid], case_id: str) -> Finding | None:
    """``channel-grid``: the channels of a case lie on different grids."""
    if all(same_grid(grids[0], other) for other in grids[1:]):
        return None
    return _finding(
        Code.CHANNEL_GRID, "refused", case_id, "channels lie on different grids; resample them onto one first"
    )


def check_label_grid(image: Grid, label: Grid, case_id: str) -> Finding | None:
    """``label-grid``: the label map lies on another grid than its image."""
    if same_grid(image, label):
        return None
    what = f"shape {label.shape} against {image.shape}" if label.shape != image.shape else "another affine"
    message = f"label map lies on another grid than its image ({what}); say --resample-labels, or resample it onto the image first"
    return _finding(Code.LABEL_GRID, "refused", case_id, message)


def check_resampled(outside: float, case_id: str) -> Finding:
    """``label-resampled``: the label map was put on its image's grid; flagged where a part of it lies outside."""
    cut = f", and {outside:.1%} of it, which lay outside, were cut off" if outside else ""
    message = f"label map was resampled onto its image with nearest neighbour{cut}; look at its outlines"
    return _finding(Code.LABEL_RESAMPLED, "flagged" if outside else "fixed", case_id, message)


def check_label_ids(present: Iterable[int], named: Iterable[int], case_id: str) -> Finding | None:
    """``label-id-unknown``: the label map holds an id that the class table does not name."""
    unknown = sorted(set(present) - set(named))
    if not unknown:
        return None
    shown = ", ".join(str(number) for number in unknown[:5])
    message = f"label id {shown} is not in the class table; name it in lesion_classes and label_ids, or with --class-map"
    return _finding(Code.LABEL_ID_UNKNOWN, "refused", case_id, message)


def check_label_missing(case_id: str, *, required: bool) -> Finding:
    """``label-missing``: an image without a label, in a source that has labels or where labels are required."""
    message = "image has no label" + (
        " and labels are required" if required else "; kept as an unlabelled case"
    )
    return _finding(Code.LABEL_MISSING, "refused" if required else "flagged", case_id, message)


def check_lesion_free(labels: np.ndarray, case_id: str, *, lesion_free: bool) -> Finding | None:
    """``lesion-free-labelled`` and ``label-empty``: what the table says against what the label map holds."""
    drawn = bool(labels.any())
    if lesion_free and drawn:
        return _finding(
            Code.LESION_FREE_LABELLED, "refused", case_id, "said to be lesion-free and has a labelled lesion"
        )
    if not lesion_free and not drawn:
        message = "label map is empty though the case is not said to be lesion-free"
        return _finding(Code.LABEL_EMPTY, "flagged", case_id, message)
    return None


def check_classes_found(stated: Iterable[str], present: Iterable[str], case_id: str) -> Finding | None:
    """``class-not-found``: the table names a class that the label map does not hold."""
    lost = sorted(set(stated) - set(present))
    if not lost:
        return None
    return _finding(
        Code.CLASS_NOT_FOUND,
        "flagged",
        case_id,
        f"label map holds no {', '.join(lost)}, which the table names",
    )


def check_spacing(grid: Grid, case_id: str, *, known: bool, stated: bool) -> Finding | None:
    """``spacing-nominal`` and ``spacing-suspect``: a spacing that is not, or may not be, that of the scan.

    One slice has no spacing to its neighbours: it is nominal without a finding.
    """
    if min(grid.shape) == 1:
        return None
    if not known and not stated:
        message = "header gives no spacing; the 1 mm of its affine are nominal"
        return _finding(Code.SPACING_NOMINAL, "flagged", case_id, message)
    thin = max(grid.shape) > _SUSPECT_ANISOTROPY * min(grid.shape)
    if known and not stated and thin and np.allclose(grid.spacing_mm, 1.0, atol=1e-6):
        message = "spacing is exactly 1 x 1 x 1 mm for a thin stack; if it is nominal, say --spacing nominal"
        return _finding(Code.SPACING_SUSPECT, "flagged", case_id, message)
    return None


def check_duplicate_image(same_as: str, case_id: str, *, same_patient: bool) -> Finding:
    """``duplicate-image``: two cases have identical voxels; refused under two patients, since splits would leak."""
    if same_patient:
        return _finding(
            Code.DUPLICATE_IMAGE, "flagged", case_id, f"same voxels as {same_as} of the same patient"
        )
    message = f"same voxels as {same_as}, which is said to be another patient"
    return _finding(Code.DUPLICATE_IMAGE, "refused", case_id, message)


def check_patient_sources(appearances: Iterable[tuple[str, int]]) -> tuple[Finding, ...]:
    """``patient-in-several-sources``: one patient in more than one SRC; kept as one patient."""
    sources: dict[str, set[int]] = {}
    for patient_id, source in appearances:
        sources.setdefault(patient_id, set()).add(source)
    return tuple(
        _finding(
            Code.PATIENT_IN_SEVERAL_SOURCES,
            "flagged",
            None,
            f"{patient_id} stands in {len(numbers)} sources and is kept as one patient",
        )
        for patient_id, numbers in sorted(sources.items())
        if len(numbers) > 1
    )


def check_single_lesions(records: Sequence[CaseRecord], classes: Sequence[str]) -> tuple[Finding, ...]:
    """``single-lesion-class`` and ``class-without-lesion``: classes that no split can divide; made cases are never split."""
    if all(record.origin is not Origin.REAL for record in records):
        return ()
    counts: Counter[str] = Counter()
    for record in records:
        counts.update({lesion.class_name: lesion.count for lesion in record.lesions})
    found = []
    for name in classes:
        if counts[name] == 1:
            message = f"class {name} has one lesion only: no split can both train on it and test it"
            found.append(_finding(Code.SINGLE_LESION_CLASS, "flagged", None, message))
        elif not counts[name]:
            found.append(_finding(Code.CLASS_WITHOUT_LESION, "flagged", None, f"class {name} has no lesion"))
    return tuple(found)


def check_unit(case_id: str, found: str, expected: str) -> Finding:
    """``unit-differs``: the intensities mean something else than those of most cases."""
    message = (
        f"intensities are {found}; expected {expected} as in most cases; ingest apart, or say --modality"
    )
    return _finding(Code.UNIT_DIFFERS, "refused", case_id, message)


def check_channels(case_id: str, found: Sequence[str], expected: Sequence[str]) -> Finding:
    """``channels-differ``: other channels than most cases have."""
    message = f"channels are {', '.join(found)}; expected {', '.join(expected)} as in most cases"
    return _finding(Code.CHANNELS_DIFFER, "refused", case_id, message)


def note_guessed_modality(count: int, modality: str, unit: str) -> Finding:
    """``modality-guessed``: nothing says what the intensities mean."""
    message = f"modality of {counted(count, 'case')} is not stated; taken as {modality} in {unit}; say --modality if that is wrong"
    return _finding(Code.MODALITY_GUESSED, "flagged", None, message)


def note_said_synthetic(name: str) -> Finding:
    """``synthetic-data``: a file of the folder says that what is in it was made, and nobody says ``--origin``."""
    message = f"{name} of its folder says that the case is synthetic, and it counts as a scan; say --origin synthetic, or --origin real to have it so"
    return _finding(Code.SYNTHETIC_DATA, "flagged", None, message)


def note_made_up_classes() -> Finding:
    """``class-names-missing``: nothing names the label ids."""
    message = "label ids have no names and are called class_1, class_2, ...; name them with --class-map"
    return _finding(Code.CLASS_NAMES_MISSING, "flagged", None, message)


def _finding(code: Code, severity: Severity, case_id: str | None, message: str) -> Finding:
    return finding(code, severity, message, case_id)
