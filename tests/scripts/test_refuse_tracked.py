"""What may not be tracked is recognised by its content, whatever it is called."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom.data import get_testdata_file

from scripts.refuse_tracked import traces, what_it_is

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


def nifti() -> bytes:
    return nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)).to_bytes()


def arrays() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    return buffer.getvalue()


def dicom() -> bytes:
    path = get_testdata_file("CT_small.dcm")
    assert isinstance(path, str)
    return Path(path).read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("notes.txt", dicom(), "a medical image"),
        ("notes.txt", dicom()[132:], "a medical image"),
        ("notes.txt", nifti(), "a medical image"),
        ("notes.txt", gzip.compress(nifti(), mtime=0), "a medical image"),
        ("tests/scan.nii.gz", b"", "a medical image"),
        ("notes.txt", arrays(), "weights or arrays"),
        ("model.safetensors", b"", "weights or arrays"),
        ("notes.txt", PNG, "a picture outside docs/assets/phantom/"),
        ("docs/lung.svg", b"<svg/>", "a picture outside docs/assets/phantom/"),
        ("release.pem", b"", "a key or the private table of sources"),
        ("demo/run.json", b"{}", "the record of a run"),
        ("runs/demo/log.txt", b"", "part of a run folder or data set"),
        ("long.txt", b"a" * 1_000_001, "larger than 1000000 bytes"),
    ],
)
def test_refused(name: str, content: bytes, kind: str) -> None:
    assert what_it_is(name, content) == kind


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("docs/assets/phantom/overlay.png", PNG),
        ("medaug/core/runs.py", b'"""Run folders."""\n'),
        ("README.md", b"# medaug\n"),
        ("empty.txt", b""),
        ("docs/results/study/shard_1/run.json", b"{}"),
    ],
)
def test_allowed(name: str, content: bytes) -> None:
    assert what_it_is(name, content) is None


def test_traces_of_one_machine() -> None:
    home = "/" + "home/somebody/scans"
    assert list(traces("docs/a.md", f"fine\nsee {home}\n")) == ["docs/a.md:2: a path of one machine"]
    assert list(traces("docs/a.md", "a/home/page and https://example.org/home/x\n")) == []
    assert list(traces("constraints.txt", "torch==2.13.0" + "+cpu\n"))
    assert not list(traces("constraints.txt", "torch==2.13.0\n"))
