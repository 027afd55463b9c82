"""Findings and their codes; what each means and what to do about it stands in :mod:`medaug.core.catalogue`."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, final

from pydantic import Field

from medaug.core.config import Document, Frozen

Severity = Literal["fixed", "flagged", "refused"]


@final
class Code(StrEnum):
    """Codes of ``findings.json``."""

    # what a DICOM series is made of
    MISSING_SLICE = "missing-slice"
    UNEVEN_SPACING = "uneven-spacing"
    DUPLICATE_INSTANCE = "duplicate-instance"
    CONFLICTING_INSTANCE = "conflicting-instance"
    CONFLICTING_POSITION = "conflicting-position"
    MIXED_PATIENTS = "mixed-patients"
    MIXED_FRAMES_OF_REFERENCE = "mixed-frames-of-reference"
    MIXED_MODALITIES = "mixed-modalities"
    MIXED_ORIENTATION = "mixed-orientation"
    MIXED_SPACING = "mixed-spacing"
    MIXED_SIZE = "mixed-size"
    SCOUT_SEPARATED = "scout-separated"
    SEVERAL_VOLUMES = "several-volumes"
    # where its slices lie
    MISSING_POSITION = "missing-position"
    MISSING_ORIENTATION = "missing-orientation"
    MISSING_PIXEL_SPACING = "missing-pixel-spacing"
    BAD_ORIENTATION = "bad-orientation"
    BAD_PIXEL_SPACING = "bad-pixel-spacing"
    NOT_A_VOLUME = "not-a-volume"
    SINGLE_SLICE = "single-slice"
    GANTRY_TILT = "gantry-tilt"
    CURVED_STACK = "curved-stack"
    MOSAIC_UNDESCRIBED = "mosaic-undescribed"
    MOSAIC_REVERSED = "mosaic-reversed"
    # what its pixels are
    TRUNCATED_FILE = "truncated-file"
    NO_PIXEL_DATA = "no-pixel-data"
    BAD_PIXEL_FORMAT = "bad-pixel-format"
    ABSURD_SIZE = "absurd-size"
    UNSUPPORTED_CLASS = "unsupported-class"
    UNSUPPORTED_TRANSFER_SYNTAX = "unsupported-transfer-syntax"
    ZERO_RESCALE_SLOPE = "zero-rescale-slope"
    RESCALE_MISSING = "rescale-missing"
    RESCALE_NOT_HU = "rescale-not-hu"
    MONOCHROME1 = "monochrome1"
    COLOUR_CONVERTED = "colour-converted"
    SUV_NOT_COMPUTED = "suv-not-computed"
    SPACING_AT_DETECTOR = "spacing-at-detector"
    # any reader
    UNREADABLE = "unreadable"
    GEOMETRY = "geometry"
    LABEL = "label"
    DATA = "data"
    FOUR_AXES = "four-axes"
    TRANSFORM_CONFLICT = "transform-conflict"
    ORIENTATION_ASSUMED = "orientation-assumed"
    SHEARED_GRID = "sheared-grid"
    PICTURE_TURNED = "picture-turned"
    UNSUPPORTED_FORMAT = "unsupported-format"
    DEPENDENCY_MISSING = "dependency-missing"
    FILE_CHANGED = "file-changed"
    # images of a case
    NOT_FINITE = "not-finite"
    CONSTANT_IMAGE = "constant-image"
    LABEL_LIKE = "label-like"
    CHANNEL_GRID = "channel-grid"
    SPACING_NOMINAL = "spacing-nominal"
    SPACING_SUSPECT = "spacing-suspect"
    SOURCE_ROW = "source-row"
    SYNTHETIC_DATA = "synthetic-data"
    # labels
    LABEL_GRID = "label-grid"
    LABEL_RESAMPLED = "label-resampled"
    LABEL_ID_UNKNOWN = "label-id-unknown"
    LABEL_NAME_UNKNOWN = "label-name-unknown"
    LABEL_MISSING = "label-missing"
    LABEL_NOT_WHOLE = "label-not-whole"
    LABEL_EMPTY = "label-empty"
    LESION_FREE_LABELLED = "lesion-free-labelled"
    CLASS_NOT_FOUND = "class-not-found"
    OVERLAPPING_SEGMENTS = "overlapping-segments"
    REFERENCE_MISSING = "reference-missing"
    CONTOUR_OFF_SLICE = "contour-off-slice"
    CONTOURS_CROSS = "contours-cross"
    CONTOUR_CUT = "contour-cut"
    CONTOUR_GAPS = "contour-gaps"
    CONTOUR_IGNORED = "contour-ignored"
    SEGMENT_EMPTY = "segment-empty"
    FRACTIONS_THRESHOLDED = "fractions-thresholded"
    MASKS_MERGED = "masks-merged"
    # the set as a whole
    DUPLICATE_CASE_ID = "duplicate-case-id"
    ID_CHANGED = "id-changed"
    DUPLICATE_IMAGE = "duplicate-image"
    PATIENT_IN_SEVERAL_SOURCES = "patient-in-several-sources"
    SINGLE_LESION_CLASS = "single-lesion-class"
    CLASS_WITHOUT_LESION = "class-without-lesion"
    UNIT_DIFFERS = "unit-differs"
    CHANNELS_DIFFER = "channels-differ"
    MODALITY_GUESSED = "modality-guessed"
    CLASS_NAMES_MISSING = "class-names-missing"
    # files that became no case
    IMAGE_MISSING = "image-missing"
    DESCRIPTION_DIFFERS = "description-differs"
    NOT_AN_IMAGE = "not-an-image"
    UNSUPPORTED_MODALITY = "unsupported-modality"
    ARCHIVE_UNSAFE = "archive-unsafe"
    ARCHIVE_BOMB = "archive-bomb"
    DICOMDIR_REFERENCE = "dicomdir-reference"
    # what a look at the finished set shows
    ANISOTROPIC = "anisotropic"
    VOXEL_SIZE = "voxel-size"
    FIELD_OF_VIEW = "field-of-view"
    NOT_HU = "not-hu"
    HU_RANGE = "hu-range"
    PADDING = "padding"
    NEGATIVE_INTENSITY = "negative-intensity"
    CLIPPED_RANGE = "clipped-range"
    TINY_ISLANDS = "tiny-islands"
    HOLES = "holes"
    LESION_AT_BORDER = "lesion-at-border"
    TINY_LESION = "tiny-lesion"
    LABEL_OUTSIDE_BODY = "label-outside-body"
    NEAR_DUPLICATE = "near-duplicate"
    LATERALITY_FLIP = "laterality-flip"
    LATERALITY_OUTLIER = "laterality-outlier"
    REPEAT_STUDIES = "repeat-studies"
    FEW_PATIENTS = "few-patients"
    SPACING_OUTLIER = "spacing-outlier"
    SEVERAL_MODALITIES = "several-modalities"
    # what drawing lesions met
    SIZE_CLAMPED = "size-clamped"
    ONE_DONOR = "one-donor"
    SHAPES_SIMPLER = "shapes-simpler"
    HOST_UNLIKE = "host-unlike"
    HOST_CHANGED = "host-changed"
    HOST_UNREADABLE = "host-unreadable"
    NO_PLACE = "no-place"


@final
class Finding(Frozen):
    """Something odd about a case or a source; free of identifiers."""

    code: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    severity: Severity
    case_id: str | None = Field(description="null where it concerns a source that became no case")
    message: str


@final
class Inspection(Document):
    """``inspection.json``: what `medaug inspect` found in a dataset; refused means not fit for use until mended."""

    dataset_sha256: str = Field(description="content hash of the dataset that was looked at")
    cases: int
    examined: int = Field(description="cases whose files could be read and are those of the manifest")
    folds: int = Field(description="folds that the classes were counted for")
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = Field(default=(), description="what could not be told, in sentences")


def finding(code: Code, severity: Severity, message: str, case_id: str | None = None) -> Finding:
    """A finding of the catalogue; the message says what was found here and what to do, and names no person or path."""
    return Finding(code=code, severity=severity, case_id=case_id, message=message)
