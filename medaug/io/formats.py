"""Which files may be images, told by their names alone; DICOM is told by content and has no name to go by."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

FileKind = Literal["nifti", "nrrd", "metaimage", "picture"]

# The longest ending that fits decides. The .hdr of a two-file NIfTI is read; its .img comes with it.
_READ: Final[dict[str, FileKind]] = {
    ".nii.gz": "nifti",
    ".nii": "nifti",
    ".hdr": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "metaimage",
    ".mhd": "metaimage",
    ".png": "picture",
    ".tif": "picture",
    ".tiff": "picture",
    ".jpg": "picture",
    ".jpeg": "picture",
    ".bmp": "picture",
}
_NOT_READ: Final[dict[str, str]] = {
    ".mgz": "FreeSurfer MGH",
    ".mgh": "FreeSurfer MGH",
    ".mnc": "MINC",
    ".mnc.gz": "MINC",
    ".head": "AFNI",
    ".brik": "AFNI",
    ".brik.gz": "AFNI",
    ".par": "Philips PAR/REC",
    ".rec": "Philips PAR/REC",
    ".mif": "MRtrix",
    ".mif.gz": "MRtrix",
    ".gipl": "GIPL",
    ".gipl.gz": "GIPL",
    ".dcm.gz": "gzipped DICOM",
    ".gii": "GIFTI",
    ".gii.gz": "GIFTI",
}
_CIFTI: Final = (".dconn.nii", ".dscalar.nii", ".dtseries.nii", ".dlabel.nii", ".pconn.nii", ".ptseries.nii")


def kind_of(path: Path) -> FileKind | None:
    """The format that the name claims and medaug reads, or None."""
    ending = _ending(path.name.lower(), _READ)
    return None if unsupported_format(path) or not ending else _READ[ending]


def unsupported_format(path: Path) -> str:
    """The name of a format of images that medaug knows and does not read, or an empty string."""
    name = path.name.lower()
    if name.endswith(_CIFTI):
        return "CIFTI"
    ending = _ending(name, _NOT_READ)
    return _NOT_READ[ending] if ending else ""


def stem(path: Path) -> str:
    """The name without the ending of its format."""
    ending = _ending(path.name.lower(), _READ)
    return path.name[: len(path.name) - len(ending)] if ending else path.name


def _ending(name: str, table: dict[str, FileKind] | dict[str, str]) -> str:
    fits = [ending for ending in table if name.endswith(ending)]
    return max(fits, key=len, default="")
