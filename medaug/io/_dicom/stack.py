"""Frames of one series into stacks: frames in order on one grid each, or the reason why there is none.

Only positions and orientations place a frame. Pixels are looked at where two frames claim one place or one instance UID.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np

from medaug.core.errors import DataError, GeometryError, UnreadableError
from medaug.core.findings import Code, Finding, finding
from medaug.core.geometry import Affine
from medaug.core.volume import Unit
from medaug.core.wording import counted
from medaug.io._dicom.claims import check_frames
from medaug.io._dicom.frame import Frame
from medaug.io._dicom.geometry import Pose, Tilt, line_of, pose_of, positions_mm, slots_of
from medaug.io._dicom.pixels import read_frames
from medaug.io._dicom.shear import Shear, upright
from medaug.io._dicom.values import unit_of, value_notes
from medaug.io._dicom.volumes import Part, like, separated, volumes_of

_MOST_VOXELS = 1 << 33
NOMINAL_MM = 1.0
_SEVERAL_GRIDS = frozenset(
    {Code.CONFLICTING_POSITION, Code.MIXED_ORIENTATION, Code.MIXED_SPACING, Code.MIXED_SIZE}
)
_APART = "separate them at the source"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """One or several volumes on one grid, headers only.

    Attributes:
        part: Which part of its series it is, a word; empty where it is the whole.
        volumes: The frames of each volume, in order along the normal.
        channels: The name of each volume; the modality where there is one only.
        affine_lps: 4 x 4, (column, row, slice) index to LPS+ mm, of the grid that :func:`read_stack` makes.
        shape: Columns, rows and slices of that grid.
        shear: How the slices of a tilted gantry are brought upright, or None.
        modality: DICOM modality code.
        unit: Of all volumes.
        spacing_known: Whether distances on the grid are those of the scan.
        findings: What was odd; without case ids, which the caller knows.
    """

    part: str
    volumes: tuple[tuple[Frame, ...], ...]
    channels: tuple[str, ...]
    affine_lps: Affine
    shape: tuple[int, int, int]
    shear: Shear | None
    modality: str
    unit: Unit
    spacing_known: bool
    findings: tuple[Finding, ...]

    @property
    def instance_uids(self) -> tuple[str, ...]:
        """SOPInstanceUIDs of the first volume, in the order of its slices."""
        return tuple(frame.instance_uid for frame in self.volumes[0])

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file it is read from, once, in the order of volumes and slices."""
        return tuple(dict.fromkeys(frame.path for volume in self.volumes for frame in volume))

    @property
    def is_cine(self) -> bool:
        """Whether its volumes are pictures one after another, of something that lies nowhere in the patient."""
        return len(self.volumes) > 1 and self.volumes[0][0].plane.position_mm is None

    @property
    def frame_of_reference_uid(self) -> str:
        """Of all frames, or empty."""
        return self.volumes[0][0].frame_of_reference_uid

    def apart(self) -> tuple[Stack, ...]:
        """Each of its volumes as a stack of its own."""
        several = len(self.volumes) > 1
        return tuple(self.volume(n) for n in range(len(self.volumes))) if several else (self,)

    def volume(self, number: int) -> Stack:
        """One of the volumes as a stack of its own."""
        return replace(
            self,
            part=_joined(self.part, self.channels[number]),
            volumes=(self.volumes[number],),
            channels=(self.modality,),
        )


def _joined(*words: str) -> str:
    return "_".join(word for word in words if word)


def open_stacks(frames: Sequence[Frame], *, tilt: Tilt) -> tuple[Stack, ...]:
    """The stacks of one series.

    Args:
        frames: Of one series, in any order.
        tilt: Resample a tilted gantry upright, with a finding, or refuse it.

    Raises:
        UnreadableError: If pixels cannot be read as the headers describe them.
        GeometryError: If frames do not form stacks.
        DataError: If frames belong to several patients, frames of reference or modalities, or one instance has two faces.
    """
    require_one_patient(frames)
    check_frames(frames)
    kept, notes = without_copies(frames)
    scouts = [frame for frame in kept if frame.is_scout]
    slices = [frame for frame in kept if not frame.is_scout]
    found: list[Stack] = []
    if slices:
        found += _stacks(slices, "", tilt)
    scout_stacks, lost = _scout_stacks(scouts, tilt, alone=not slices)
    found += scout_stacks
    if scouts and slices:
        notes.append(_scout_note(len(scouts), lost))
    return tuple(replace(stack, findings=_once([*notes, *stack.findings])) for stack in found)


def _once(notes: Sequence[Finding]) -> tuple[Finding, ...]:
    """Each note once, however many frames it concerns."""
    return tuple(dict.fromkeys(notes))


def _scout_note(count: int, lost: int) -> Finding:
    message = f"{counted(count, 'scout')} of the series {'was' if count == 1 else 'were'} read apart from its slices"
    if lost:
        message += f", but {lost} could not be stacked and {'was' if lost == 1 else 'were'} left out"
    return finding(Code.SCOUT_SEPARATED, "flagged", message)


def _scout_stacks(scouts: Sequence[Frame], tilt: Tilt, *, alone: bool) -> tuple[list[Stack], int]:
    """Scouts by plane, each plane a stack; beside slices, those that make no stack are counted and left out."""
    planes: dict[object, list[Frame]] = {}
    for frame in scouts:
        planes.setdefault(_plane_key(frame), []).append(frame)
    stacks: list[Stack] = []
    lost = 0
    for number, group in enumerate(planes.values(), start=1):
        name = "" if alone and len(planes) == 1 else f"scout_{number}"
        try:
            stacks += _stacks(group, name, tilt)
        except DataError:
            if alone:
                raise
            lost += len(group)
    return stacks, lost


def _plane_key(frame: Frame) -> object:
    cosines = [round(value, 2) + 0.0 for value in (*(frame.plane.row or ()), *(frame.plane.column or ()))]
    return (tuple(cosines), frame.plane.spacing_mm, frame.pixels.rows, frame.pixels.columns)


def require_one_patient(frames: Sequence[Frame]) -> None:
    """Refuse frames of several patients.

    Raises:
        DataError: If their id, name or birth date differ.
    """
    if len({frame.patient for frame in frames}) > 1:
        what = "several patients stand under one series UID"
        raise DataError(what, hint=_APART, code=Code.MIXED_PATIENTS)


def without_copies(frames: Sequence[Frame]) -> tuple[list[Frame], list[Finding]]:
    """One frame of each instance, and a note of the copies that were left out.

    Raises:
        DataError: If files with one SOPInstanceUID hold different images.
    """
    kept: dict[tuple[object, ...], Frame] = {}
    copies = 0
    for frame in frames:
        key = (frame.instance_uid or str(frame.path), frame.number, frame.tile)
        first = kept.setdefault(key, frame)
        if first is frame:
            continue
        if not same_image(first, frame):
            what = "files with one SOPInstanceUID hold different images"
            hint = "find out which is the original and take the other away"
            raise DataError(what, hint=hint, code=Code.CONFLICTING_INSTANCE)
        copies += 1
    return list(kept.values()), [_copies(copies)] if copies else []


def _copies(count: int) -> Finding:
    message = (
        f"{counted(count, 'exact copy', 'exact copies')} of slices {'was' if count == 1 else 'were'} left out"
    )
    return finding(Code.DUPLICATE_INSTANCE, "fixed", message)


def same_image(first: Frame, second: Frame) -> bool:
    """Whether two frames lie at one place and hold the same values.

    Raises:
        UnreadableError: If one of them cannot be read.
    """
    sizes = {(frame.pixels.rows, frame.pixels.columns) for frame in (first, second)}
    if first.plane != second.plane or len(sizes) > 1:
        return False
    one, other = read_frames((first,)), read_frames((second,))
    return np.array_equal(one, other, equal_nan=True)


def _stacks(frames: Sequence[Frame], part: str, tilt: Tilt) -> list[Stack]:
    """Frames of one subject as one stack, or as several where a trait tells grids apart."""
    _require_one_kind(frames)
    try:
        return [_stack(frames, part, tilt)]
    except GeometryError as error:
        parts = separated(frames) if error.code in _SEVERAL_GRIDS else None
        if parts is None:
            raise
    found = [stack for one in parts for stack in _stacks(one.frames, _joined(part, one.name), tilt)]
    if parts[0].is_acquired_together and len({stack.shape[2] for stack in found}) > 1:
        what = "volumes that are acquired together have different numbers of slices"
        raise GeometryError(what, hint="export or pull the whole series again", code=Code.MISSING_SLICE)
    note = _several_note(found)
    return [replace(stack, findings=_once([note, *stack.findings])) for stack in found]


def _several_note(stacks: Sequence[Stack]) -> Finding:
    sizes = ", ".join(" x ".join(str(n) for n in stack.shape) for stack in stacks[:4])
    more = ", ..." if len(stacks) > 4 else ""
    message = (
        f"series holds {len(stacks)} volumes on different grids ({sizes}{more}); check that each is wanted"
    )
    return finding(Code.SEVERAL_VOLUMES, "flagged", message)


def _require_one_kind(frames: Sequence[Frame]) -> None:
    if len({frame.frame_of_reference_uid for frame in frames}) > 1:
        what = "several frames of reference stand under one series UID"
        raise DataError(what, hint=_APART, code=Code.MIXED_FRAMES_OF_REFERENCE)
    if len({(frame.modality, unit_of(frame)) for frame in frames}) > 1:
        what = "several modalities or units stand under one series UID"
        raise DataError(what, hint=_APART, code=Code.MIXED_MODALITIES)
    if any(frame.pixels.samples > 1 for frame in frames):
        what = "colour images do not stack to a volume"
        raise UnreadableError(what, expected="MONOCHROME1 or MONOCHROME2", code=Code.BAD_PIXEL_FORMAT)


def _stack(frames: Sequence[Frame], part: str, tilt: Tilt) -> Stack:
    """Frames as volumes on one grid."""
    pose = pose_of(frames)
    slots, notes = _without_twins(slots_of(frames, pose.normal))
    parts = _volumes(slots)
    shape = _bounded_shape(parts)
    origin = positions_mm(parts[0].frames[:1])[0]
    if len(slots) == 1:
        step, known, note = _lone_step(parts[0].frames[0], pose)
        return _made(parts, part, (pose.affine(origin, step), shape, None, known), [*notes, note])
    line = line_of(parts[0].frames, pose.normal)
    if not line.tilt_deg:
        return _made(parts, part, (pose.affine(origin, line.step_mm), shape, None, True), notes)
    if tilt == "refuse":
        what = f"gantry is tilted by {line.tilt_deg:.1f} degrees"
        hint = "resample first, or say --tilt resample"
        raise GeometryError(
            what, expected="slices stacked along their normal", hint=hint, code=Code.GANTRY_TILT
        )
    shear, affine = upright(line, pose, origin, shape)
    message = f"gantry was tilted by {line.tilt_deg:.1f} degrees; slices were resampled onto an upright grid"
    note = finding(Code.GANTRY_TILT, "fixed", message)
    return _made(parts, part, (affine, shear.shape, shear, True), [*notes, note])


def _made(
    parts: Sequence[Part],
    part: str,
    grid: tuple[Affine, tuple[int, int, int], Shear | None, bool],
    notes: Sequence[Finding],
) -> Stack:
    first = parts[0].frames[0]
    odd = (note for one in parts for frame in one.frames for note in value_notes(frame))
    return Stack(
        part=part,
        volumes=tuple(one.frames for one in parts),
        channels=tuple(one.name for one in parts) if len(parts) > 1 else (first.modality,),
        affine_lps=grid[0],
        shape=grid[1],
        shear=grid[2],
        modality=first.modality,
        unit=unit_of(first),
        spacing_known=grid[3],
        findings=_once([*notes, *odd]),
    )


def _without_twins(slots: list[list[Frame]]) -> tuple[list[list[Frame]], list[Finding]]:
    """The same image at the same place under two instance UIDs is kept once, where nothing tells the two apart."""
    if len({len(slot) for slot in slots}) == 1 and (len(slots[0]) == 1 or volumes_of(slots) is not None):
        return slots, []
    kept = [_distinct(slot) for slot in slots]
    copies = sum(map(len, slots)) - sum(map(len, kept))
    return kept, [_copies(copies)] if copies else []


def _distinct(slot: list[Frame]) -> list[Frame]:
    kept: list[Frame] = []
    for frame in slot:
        if not any(like(frame, other) and same_image(frame, other) for other in kept):
            kept.append(frame)
    return kept


def _volumes(slots: list[list[Frame]]) -> tuple[Part, ...]:
    """The volumes that stand at the same places.

    Raises:
        GeometryError: If several images stand at one place and nothing tells them apart.
    """
    counts = sorted({len(slot) for slot in slots})
    if len(slots) == 1 and counts != [1]:
        what = f"all {counts[0]} slices lie at one position"
        raise GeometryError(what, hint="export each image as a series of its own", code=Code.NOT_A_VOLUME)
    if counts == [1]:
        return (Part("", tuple(slot[0] for slot in slots)),)
    found = volumes_of(slots) if len(counts) == 1 else None
    if found is None:
        what = "different images stand at one slice position"
        hint = "export each volume (time, echo, b-value) apart"
        raise GeometryError(what, hint=hint, code=Code.CONFLICTING_POSITION)
    return found


def _bounded_shape(parts: Sequence[Part]) -> tuple[int, int, int]:
    first = parts[0].frames[0]
    shape = (first.pixels.columns, first.pixels.rows, len(parts[0].frames))
    if math.prod(shape) * len(parts) > _MOST_VOXELS:
        what = f"series claims {len(parts)} volumes of {shape} voxels"
        raise UnreadableError(what, expected=f"at most {_MOST_VOXELS} voxels", code=Code.ABSURD_SIZE)
    return shape


def _lone_step(frame: Frame, pose: Pose) -> tuple[np.ndarray, bool, Finding]:
    """To the slice that a lone one does not have: the only place where a thickness of the header counts."""
    thickness_mm = frame.thickness_mm
    if thickness_mm is None:
        message = f"one slice without a thickness; {NOMINAL_MM:g} mm is nominal"
    else:
        message = "one slice; its thickness comes from the header"
    step = pose.normal * (NOMINAL_MM if thickness_mm is None else thickness_mm)
    return step, False, finding(Code.SINGLE_SLICE, "flagged", message)
