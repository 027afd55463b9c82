"""Formats by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from medaug.io.formats import kind_of, stem, unsupported_format


@pytest.mark.parametrize(
    ("name", "kind", "unsupported", "base"),
    [
        ("a.b.NII.GZ", "nifti", "", "a.b"),
        ("a.hdr", "nifti", "", "a"),
        ("a.seg.nrrd", "nrrd", "", "a.seg"),
        ("a.nhdr", "nrrd", "", "a"),
        ("a.mhd", "metaimage", "", "a"),
        ("a.JPEG", "picture", "", "a"),
        ("a.dconn.nii", None, "CIFTI", "a.dconn"),
        ("a.mgz", None, "FreeSurfer MGH", "a.mgz"),
        ("a+orig.HEAD", None, "AFNI", "a+orig.HEAD"),
        ("a.dcm.gz", None, "gzipped DICOM", "a.dcm.gz"),
        ("a.dcm", None, "", "a.dcm"),
        ("nii", None, "", "nii"),
    ],
)
def test_names(name: str, kind: str | None, unsupported: str, base: str) -> None:
    path = Path("folder.nii") / name
    assert (kind_of(path), unsupported_format(path), stem(path)) == (kind, unsupported, base)
