"""Reading DICOM series to volumes: medaug.io against SimpleITK's ImageSeriesReader.

    .venv/bin/python scripts/benchmarks/ingest.py --json          # peer: .venv/bin/pip install -e ".[itk]"
    .venv/bin/python scripts/benchmarks/ingest.py --source DIR    # series of your own, a folder each

Both sides begin with folders and end with float32 arrays of all voxels. What medaug does besides counts as its
time: it checks every header, hashes every file and turns the axes to RAS+.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from medaug.core.errors import DataError
from medaug.core.geometry import Grid, lps_to_ras, to_ras
from scripts.benchmarks.measure import (
    BenchmarkResult,
    Peer,
    alternate,
    at_least_one,
    limit_threads,
    parser,
    peak_mb,
    show,
    versions,
)

Read = list[tuple[np.ndarray, np.ndarray]]


def series_folders(source: Path) -> list[Path]:
    """Every folder below ``source`` that holds files."""
    folders = {path.parent for path in source.rglob("*") if path.is_file()}
    return sorted(folders)


def read_medaug(source: Path) -> Read:
    """Voxels (I, J, K) and affine, RAS+, of each series."""
    from medaug.io.dicom import read_series
    from medaug.io.headers import scan

    found: Read = []
    for folder in series_folders(source):
        for series in scan(sorted(folder.iterdir())).images:
            volume = read_series(series.files).volume
            found.append((volume.image[0], volume.grid.affine))
    return found


def read_simpleitk(source: Path) -> Read:
    """Voxels (K, J, I) and affine, LPS+ as they come, of each series."""
    import SimpleITK

    reader = SimpleITK.ImageSeriesReader()
    reader.SetOutputPixelType(SimpleITK.sitkFloat32)
    found: Read = []
    for folder in series_folders(source):
        for uid in sorted(reader.GetGDCMSeriesIDs(str(folder))):
            reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), uid))
            image = reader.Execute()
            affine = np.eye(4)
            affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
            affine[:3, 3] = image.GetOrigin()
            found.append((SimpleITK.GetArrayFromImage(image), affine))
    return found


def require_same(ours: Read, theirs: Read) -> None:
    """Stop unless both sides read the same voxels to the same places."""
    if len(ours) != len(theirs):
        sys.exit(f"medaug read {len(ours)} series, SimpleITK {len(theirs)}")
    for number, ((image, affine), (stored, affine_lps)) in enumerate(zip(ours, theirs, strict=True)):
        shape = (stored.shape[2], stored.shape[1], stored.shape[0])
        grid, turn = to_ras(Grid(shape, lps_to_ras(affine_lps)))
        if not np.array_equal(turn.apply(stored.transpose(2, 1, 0)), image):
            sys.exit(f"voxels of series {number} differ")
        if not np.allclose(grid.affine, affine, atol=1e-3):
            sys.exit(f"affines of series {number} differ")


def write_phantoms(folder: Path, patients: int, shape: tuple[int, int, int]) -> None:
    """Draw phantom patients and write each as a DICOM series."""
    from medaug.layouts.dicom import SeriesIdentity, Uids, write_series
    from medaug.phantom.cohort import PhantomSpec, draw_patient, list_patients

    spec = PhantomSpec(solid=patients, ground_glass=0, both=0, lesion_free=0, shape=shape)
    for patient in list_patients(spec):
        identity = SeriesIdentity(
            uids=Uids(b"medaug benchmark", (patient.patient_id,)),
            patient_id=patient.patient_id,
            patient_name=f"PHANTOM^{patient.number:03d}",
            description="Phantom chest",
            is_synthetic=True,
        )
        write_series(draw_patient(spec, patient).volume, identity, folder / patient.patient_id)


def compare(source: Path, repeats: int, threads: int) -> BenchmarkResult:
    """Compare what both sides read, then time them and measure their memory."""
    sides = {"medaug": read_medaug}
    ours, notes, names = read_medaug(source), [], ["pydicom"]
    if not ours:
        sys.exit(f"no DICOM image series below {source}")
    if importlib.util.find_spec("SimpleITK"):
        import SimpleITK

        SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
        require_same(ours, read_simpleitk(source))
        sides["simpleitk"] = read_simpleitk
        names.append("SimpleITK")
    else:
        notes.append('simpleitk: not installed; pip install -e ".[itk]"')
    seconds = alternate({name: partial(read, source) for name, read in sides.items()}, repeats)
    peers: tuple[Peer, ...] = ("simpleitk",)
    shapes = " and ".join(sorted({" x ".join(map(str, image.shape)) for image, _ in ours}))
    return BenchmarkResult(
        name="ingest",
        setting=f"{len(ours)} DICOM series of {shapes} voxels to float32 arrays",
        ratios={peer: round(seconds[peer] / seconds["medaug"], 3) for peer in peers if peer in seconds},
        seconds=seconds,
        peaks_mb={name: peak_mb(read, source) for name, read in sides.items()},
        threads=threads,
        repeats=repeats,
        versions=versions(*names),
        notes=tuple(notes),
    )


def main() -> int:
    """Read the command line, make the series unless some are named, and print."""
    options = parser("Read DICOM series to volumes.", repeats=7)
    options.add_argument(
        "--source", type=Path, help="a folder of series; default: phantoms drawn for this run"
    )
    options.add_argument("--patients", type=at_least_one, default=2, help="phantoms (default 2)")
    options.add_argument("--shape", type=at_least_one, nargs=3, default=(512, 512, 16), help="of a phantom")
    asked = options.parse_args()
    limit_threads(asked.threads)
    with tempfile.TemporaryDirectory() as folder:
        if asked.source is None:
            write_phantoms(Path(folder), asked.patients, tuple(asked.shape))
        try:
            result = compare(asked.source or Path(folder), asked.repeats, asked.threads)
        except DataError as error:
            sys.exit(f"a series is not one that medaug reads: {error.line()}")
    show(result, as_json=asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
