"""What kind of DICOM object a file is, and the frames in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from medaug.core.errors import UnreadableError
from medaug.core.findings import Code
from medaug.io._dicom import capture, classic, enhanced, mosaic, planar
from medaug.io._dicom.border import uid_of
from medaug.io._dicom.frame import Frame
from medaug.io.headers import Header, parse_image


def kind_of(header: Header) -> Literal["slices", "pictures", "captures"]:
    """What the file holds: slices, pictures that lie nowhere in the patient (US, CR, DX, MG), or medaug's own captures."""
    if header.is_own_capture:
        return "captures"
    return "pictures" if header.sop_class_uid in planar.CLASSES else "slices"


def frames_of(header: Header) -> tuple[Frame, ...]:
    """The frames of a file: parsed with its header, or now where there are many.

    Raises:
        UnreadableError: If the file is damaged, or of a class that is not read (named in the line).
        GeometryError: If a mosaic cannot be taken apart.
    """
    if header.fault is not None:
        raise header.fault
    if header.frames:
        return header.frames
    sop_class = header.sop_class_uid
    if sop_class in enhanced.CLASSES:
        image = parse_image(header, enhanced.CLASSES[sop_class], enhanced.TAGS)
        return enhanced.frames_of(image.elements, image.belonging, header.path, image.pixels)
    if sop_class in planar.CLASSES:
        image = parse_image(header, planar.CLASSES[sop_class], planar.TAGS)
        count = header.frames_in_file
        first = classic.frame_of(image.elements, image.belonging, header.path, image.pixels, count)
        first = planar.placed(first, image.elements)
        return tuple(replace(first, number=number) for number in range(count))
    if header.is_own_capture and header.frames_in_file == 1:
        # what values mean stands in RescaleType whatever the modality
        image = parse_image(header, "", capture.TAGS)
        only = classic.frame_of(image.elements, image.belonging, header.path, image.pixels)
        return (capture.told(only, image.elements, header.modality),)
    if sop_class in classic.CLASSES and header.frames_in_file == 1:
        image = parse_image(header, classic.CLASSES[sop_class], mosaic.TAGS)
        whole = classic.frame_of(image.elements, image.belonging, header.path, image.pixels)
        return mosaic.tiles_of(whole, image.elements)
    raise _unsupported(header)


def _unsupported(header: Header) -> UnreadableError:
    uid = uid_of(header.sop_class_uid)
    what = uid.name if uid.name != uid else "this kind of DICOM object"
    if header.sop_class_uid in classic.CLASSES:
        what = f"{what} with {header.frames_in_file} frames"
    return UnreadableError(
        f"{what} is not supported",
        expected="CT, MR, PET, US, CR, DX or MG images",
        code=Code.UNSUPPORTED_CLASS,
    )
