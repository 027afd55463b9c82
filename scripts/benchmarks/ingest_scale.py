"""The cost of ingesting many small files: seconds and memory for so many, and for ten times as many.

    .venv/bin/python scripts/benchmarks/ingest_scale.py --files 10000

Files are DICOM slices, each a series of its own, and NIfTI images, half of each; the whole of ingest is timed.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from scripts.benchmarks.measure import (
    BenchmarkResult,
    at_least_one,
    limit_threads,
    parser,
    peak_mb,
    show,
    versions,
)


def write_files(folder: Path, count: int) -> None:
    """So many small files, every one another patient."""
    import numpy as np

    from scripts.fuzz.samples import MAKERS

    dicom, nifti = MAKERS["dicom"][0](1)["IM0"], MAKERS["nifti"][0](1)["images/a.nii"]
    folder.mkdir()
    for number in range(count // 2):
        # what makes a file its own: the end of a UID, the patient's id, and some voxels
        own, noise = f"{number + 1000:04d}".encode(), np.random.default_rng(number).bytes(64)
        slice_ = dicom.replace(b".10.1.3", b"." + own + b".3").replace(b".10.1.4", b"." + own + b".4")
        slice_ = slice_.replace(b"Zq7xId", b"P" + own + b" ")[:-64] + noise
        (folder / f"{number}.dcm").write_bytes(slice_)
        (folder / f"{number}.nii.gz").write_bytes(gzip.compress(nifti[:-64] + noise, 1, mtime=0))


def ingest_all(source: Path) -> float:
    """Seconds that ingest takes."""
    from medaug.core.runs import NoProgress
    from medaug.workflows.ingest import IngestOptions, ingest

    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        made = ingest(IngestOptions(sources=(source,), out=Path(out) / "set", workers=1), NoProgress())
    if made.cases != sum(1 for _ in source.iterdir()):
        sys.exit(f"only {made.cases} files became cases")
    return round(time.perf_counter() - begun, 3)


def compare(few: int, many: int) -> BenchmarkResult:
    """Measure both counts."""
    seconds, peaks = {}, {}
    with tempfile.TemporaryDirectory() as place:
        for count in (few, many):
            source = Path(place) / str(count)
            write_files(source, count)
            seconds[f"{count} files"] = ingest_all(source)
            peaks[f"{count} files"] = peak_mb(partial(ingest_all), source)
    grown = seconds[f"{many} files"] / seconds[f"{few} files"] / (many / few)
    return BenchmarkResult(
        name="ingest scale",
        setting="half DICOM, half NIfTI, each a case",
        ratios={},
        seconds=seconds,
        peaks_mb=peaks,
        threads=1,
        repeats=1,
        versions=versions("pydicom", "nibabel"),
        notes=(f"a file costs {grown:.2f} times as much among ten times as many",),
    )


def main() -> int:
    """The command line."""
    options = parser(__doc__ or "", 1)
    options.add_argument(
        "--files", type=at_least_one, default=10_000, help="the larger count (default 10000)"
    )
    asked = options.parse_args()
    limit_threads(asked.threads)
    show(compare(asked.files // 10, asked.files), as_json=asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
