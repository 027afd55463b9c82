"""Reading DICOM series to volumes: medaug.io against SimpleITK's ImageSeriesReader and dicom2nifti.

    .venv/bin/python scripts/benchmarks/ingest.py --json           # peers: pip install -e ".[itk]" dicom2nifti
    .venv/bin/python scripts/benchmarks/ingest.py --source DIR     # series of your own, a folder each
    .venv/bin/python scripts/benchmarks/ingest.py headers          # scan of many files: two workers against one
    .venv/bin/python scripts/benchmarks/ingest.py memory           # peak memory: 10 series against 200

All sides begin with folders and end with float32 arrays of all voxels. What medaug does besides counts as its
time: it checks every header and turns the axes to RAS+.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pydicom

from medaug.core.errors import MedaugError
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

Volumes = list[tuple[np.ndarray, np.ndarray]]
Reader = Callable[[Path], Volumes]
_FEW, _MANY = 10, 200
_SMALL = (96, 96, 12)


def series_folders(source: Path) -> list[Path]:
    """Every folder below ``source`` that holds files."""
    folders = {path.parent for path in source.rglob("*") if path.is_file()}
    return sorted(folders)


def read_medaug(folder: Path) -> Volumes:
    """Voxels (I, J, K) and affine, RAS+, of each series in a folder."""
    from medaug.io.dicom import open_series, read_stack
    from medaug.io.headers import scan

    files = sorted(path for path in folder.iterdir() if path.is_file())
    stacks = [stack for series in scan(files).images for stack in open_series(series, tilt="refuse")]
    volumes = [read_stack(stack).volume for stack in stacks]
    return [(channel, volume.grid.affine) for volume in volumes for channel in volume.image]


def read_simpleitk(folder: Path) -> Volumes:
    """Voxels and affine of each series in a folder, turned to RAS+ by views alone."""
    import SimpleITK

    reader = SimpleITK.ImageSeriesReader()
    reader.SetOutputPixelType(SimpleITK.sitkFloat32)
    found: Volumes = []
    for uid in sorted(reader.GetGDCMSeriesIDs(str(folder))):
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), uid))
        image = reader.Execute()
        affine = np.eye(4)
        affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
        affine[:3, 3] = image.GetOrigin()
        found.append((SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0), lps_to_ras(affine)))
    return found


def read_dicom2nifti(folder: Path) -> Volumes:
    """Voxels and affine of the series in a folder, in the order dicom2nifti gives them."""
    dicom2nifti = importlib.import_module("dicom2nifti")
    logging.getLogger("dicom2nifti").setLevel(logging.CRITICAL)
    made = dicom2nifti.dicom_series_to_nifti(str(folder), None, reorient_nifti=False)["NII"]
    values = np.asarray(made.dataobj, dtype=np.float32)
    channels = np.moveaxis(values, -1, 0) if values.ndim == 4 else values[None]
    return [(channel, np.asarray(made.affine)) for channel in channels]


PEERS: Final[dict[Peer, tuple[str, str, Reader]]] = {
    "simpleitk": ("SimpleITK", 'pip install -e ".[itk]"', read_simpleitk),
    "dicom2nifti": ("dicom2nifti", "pip install dicom2nifti", read_dicom2nifti),
}


def differences(ours: Volumes, theirs: Volumes) -> str:
    """What two sides made otherwise of a folder; empty where they agree on every voxel and its place."""
    if len(ours) != len(theirs):
        return f"{len(ours)} against {len(theirs)} volumes"
    for (image, affine), (stored, stored_affine) in zip(ours, theirs, strict=True):
        shape = (stored.shape[0], stored.shape[1], stored.shape[2])
        grid, turn = to_ras(Grid(shape, stored_affine))
        if grid.shape != image.shape or not np.allclose(grid.affine, affine, atol=1e-2):
            return "grids differ"
        if not np.allclose(turn.apply(stored), image, rtol=1e-6, atol=1e-4):
            return "voxels differ"
    return ""


def readable(source: Path, sides: dict[str, Reader], notes: list[str]) -> list[Path]:
    """The folders that every side reads to the same volumes; what was left out goes to ``notes``."""
    kept: list[Path] = []
    left: dict[str, int] = {}
    for folder in series_folders(source):
        reason = _reason(folder, sides)
        if reason:
            left[reason] = left.get(reason, 0) + 1
        elif reason is not None:
            kept.append(folder)
    notes += [f"left out {count} folders: {reason}" for reason, count in sorted(left.items())]
    return kept


def _reason(folder: Path, sides: dict[str, Reader]) -> str | None:
    """Why a folder is left out: empty where it is not, None where it holds no series."""
    try:
        ours = sides["medaug"](folder)
    except MedaugError as error:
        return f"medaug refuses it ({error.code or 'data'})"
    if not ours:
        return None
    for name, read in sides.items():
        try:
            odd = differences(ours, read(folder))
        except Exception as error:  # noqa: BLE001 - whatever a peer raises, it did not read the folder
            odd = f"it raises {type(error).__name__}"
        if odd:
            return f"{name} reads it otherwise ({odd})"
    return ""


def read_all(read: Reader, folders: Sequence[Path], _source: Path | None = None) -> None:
    """Read folders one after the other, and keep one at a time."""
    for folder in folders:
        read(folder)


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


def write_copies(folder: Path, series: int) -> None:
    """Many series out of one: the same voxels under UIDs of their own."""
    with tempfile.TemporaryDirectory() as once:
        write_phantoms(Path(once), 1, _SMALL)
        slices = sorted(path for path in Path(once).rglob("*") if path.is_file())
        contents = [path.read_bytes() for path in slices]
        headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in slices]
    uids = {str(h.SeriesInstanceUID) for h in headers} | {str(h.SOPInstanceUID) for h in headers}
    for number in range(series):
        (folder / f"{number:04d}").mkdir(parents=True)
        for place, content in enumerate(contents):
            for uid in uids:
                content = content.replace(uid.encode(), f"{uid[:-5]}{number:05d}".encode())  # noqa: PLW2901
            (folder / f"{number:04d}" / f"{place:03d}").write_bytes(content)


def compare(source: Path, repeats: int, threads: int) -> BenchmarkResult:
    """Compare what all sides read, then time them and measure their memory."""
    sides: dict[str, Reader] = {"medaug": read_medaug}
    notes, packages = [], ["pydicom"]
    for peer, (package, install, read) in PEERS.items():
        if importlib.util.find_spec(package):
            sides[peer] = read
            packages.append(package)
        else:
            notes.append(f"{peer}: not installed; {install}")
    if "simpleitk" in sides:
        import SimpleITK

        SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
        SimpleITK.ProcessObject.GlobalWarningDisplayOff()
    folders = readable(source, sides, notes)
    if not folders:
        sys.exit("; ".join([f"no DICOM image series below {source} that all sides read", *notes]))
    seconds = alternate({name: partial(read_all, read, folders) for name, read in sides.items()}, repeats)
    shapes = {" x ".join(map(str, image.shape)) for folder in folders for image, _ in read_medaug(folder)}
    held = " and ".join(sorted(shapes)) if len(shapes) < 3 else f"{len(shapes)} sizes"
    return BenchmarkResult(
        name="ingest",
        setting=f"{len(folders)} folders of DICOM series of {held} voxels to float32 arrays",
        ratios={peer: round(seconds[peer] / seconds["medaug"], 3) for peer in PEERS if peer in seconds},
        seconds=seconds,
        peaks_mb={name: peak_mb(partial(read_all, read, folders), source) for name, read in sides.items()},
        threads=threads,
        repeats=repeats,
        versions=versions(*packages),
        notes=tuple(notes),
    )


def scan_headers(files: Sequence[Path], workers: int, _source: Path | None = None) -> None:
    """Scan headers with so many processes."""
    from medaug.io.headers import scan

    scan(files, workers=workers)


def compare_workers(source: Path, repeats: int) -> BenchmarkResult:
    """Time the header scan of many files with two processes against one."""
    files = sorted(path for path in source.rglob("*") if path.is_file())
    sides = {
        name: partial(scan_headers, files, count) for name, count in {"medaug": 2, "one_worker": 1}.items()
    }
    seconds = alternate(sides, repeats)
    return BenchmarkResult(
        name="ingest headers",
        setting=f"headers of {len(files)} DICOM files, two processes (medaug) against one",
        ratios={"one_worker": round(seconds["one_worker"] / seconds["medaug"], 3)},
        seconds=seconds,
        peaks_mb=dict.fromkeys(sides, peak_mb(sides["one_worker"], source)),
        threads=1,
        repeats=repeats,
        versions=versions("pydicom"),
        notes=("the peak is that of one process",),
    )


def compare_memory(source: Path, repeats: int) -> BenchmarkResult:
    """Peak memory of reading a few series against many, one after the other."""
    folders = series_folders(source)
    sides = {
        f"{count} series": partial(read_all, read_medaug, folders[:count]) for count in (_FEW, len(folders))
    }
    return BenchmarkResult(
        name="ingest memory",
        setting=f"DICOM series of {' x '.join(map(str, _SMALL))} voxels read one after the other",
        ratios={},
        seconds=alternate(sides, repeats),
        peaks_mb={name: peak_mb(work, source) for name, work in sides.items()},
        threads=1,
        repeats=repeats,
        versions=versions("pydicom"),
        notes=(),
    )


def main() -> int:
    """Read the command line, make the series unless some are named, and print."""
    options = parser("Read DICOM series to volumes.", repeats=7)
    options.add_argument("what", nargs="?", choices=("reading", "headers", "memory"), default="reading")
    options.add_argument(
        "--source", type=Path, help="a folder of series; default: phantoms drawn for this run"
    )
    options.add_argument("--patients", type=at_least_one, default=2, help="phantoms (default 2)")
    options.add_argument("--shape", type=at_least_one, nargs=3, default=(512, 512, 16), help="of a phantom")
    options.add_argument(
        "--series", type=at_least_one, help="small ones, for headers (default 500) and memory (default 200)"
    )
    asked = options.parse_args()
    limit_threads(asked.threads)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        source = asked.source or Path(folder)
        if asked.source is None and asked.what == "reading":
            write_phantoms(source, asked.patients, tuple(asked.shape))
        elif asked.source is None:
            write_copies(source, asked.series or {"headers": 500, "memory": _MANY}[asked.what])
        if asked.what == "headers":
            show(compare_workers(source, asked.repeats), as_json=asked.json)
        elif asked.what == "memory":
            show(compare_memory(source, asked.repeats), as_json=asked.json)
        else:
            show(compare(source, asked.repeats, asked.threads), as_json=asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
