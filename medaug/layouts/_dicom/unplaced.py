"""Segmentations of images that lie nowhere in the patient.

highdicom writes several frames only where their images have a place. So the images are lent places, in the order of slices,
which are taken out of the object again; each frame keeps naming its image (Derivation Image, PS3.3 C.7.6.16.2.6).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from medaug.layouts._dicom.placing import place

_IN_STACK, _FRAME_CONTENT = Tag("InStackPositionNumber"), Tag("FrameContentSequence")
_POSITION: Final = Tag("ImagePositionPatient")
_LENT_UID: Final = "2.25.1"
_LENT: Final = np.eye(4)


def need_places(slices: Sequence[Dataset]) -> bool:
    """Whether several images are there and lie nowhere."""
    return len(slices) > 1 and "ImagePositionPatient" not in slices[0]


def with_places(slices: Sequence[Dataset]) -> list[Dataset]:
    """Copies of headers, one millimetre apart."""
    lent = []
    for k, header in enumerate(slices):
        copy = Dataset()
        copy.update(header)
        copy.FrameOfReferenceUID = _LENT_UID
        place(copy, _LENT, k)
        lent.append(copy)
    return lent


def without_places(seg: Dataset) -> None:
    """Take lent places out of an object; its frames are then counted in the order of their slices."""
    del seg.FrameOfReferenceUID, seg.PositionReferenceIndicator
    seg.PatientOrientation = ""
    (shared,) = seg.SharedFunctionalGroupsSequence
    for keyword in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
        if keyword in shared:
            delattr(shared, keyword)
    pointers = seg.DimensionIndexSequence
    which = next(n for n, item in enumerate(pointers) if item.DimensionIndexPointer == _POSITION)
    pointers[which].DimensionIndexPointer = _IN_STACK
    pointers[which].FunctionalGroupPointer = _FRAME_CONTENT
    pointers[which].DimensionDescriptionLabel = "In-Stack Position Number"
    for frame in seg.PerFrameFunctionalGroupsSequence:
        (content,) = frame.FrameContentSequence
        indices = content.DimensionIndexValues
        content.StackID = "1"
        content.InStackPositionNumber = indices if isinstance(indices, int) else indices[which]
        del frame.PlanePositionSequence
