"""De-identification of DICOM files: ``medaug deidentify`` against dicom-anonymizer on the same folder.

    .venv/bin/python scripts/benchmarks/deidentify.py               # peer: pip install dicom-anonymizer
    .venv/bin/python scripts/benchmarks/deidentify.py --source DIR  # files of your own, in one folder
    .venv/bin/python scripts/benchmarks/deidentify.py workers       # two processes against one
    .venv/bin/python scripts/benchmarks/deidentify.py memory        # peak memory: 10 series against 100
    .venv/bin/python scripts/benchmarks/deidentify.py leaks         # what comes out that must not, and what is lost

The files are copies of two of pydicom's own, of a CT and of an MR scanner, under UIDs of their own. medaug reads all headers
before it writes, walks every depth, and compares what it writes with what stands there; the peer walks the top level.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, final

import pydicom
from pydicom.data import get_testdata_file

from medaug.core.runs import NoProgress
from scripts.benchmarks.measure import (
    BenchmarkResult,
    alternate,
    at_least_one,
    limit_threads,
    parser,
    peak_mb,
    show,
    versions,
)

Clean = Callable[[Path, Path], None]
_PEER, _PACKAGE = "dicomanonymizer", "dicom-anonymizer"
_SCANNERS: Final = ("CT_small.dcm", "MR_small.dcm")
_SLICES = 10
_FEW, _MANY = 10, 100
CLOCKS: Final[dict[str, Callable[[], float]]] = {"wall": time.perf_counter, "cpu": time.process_time}
_DEPTHS: Final = (0, 1, 3)
# What analysis needs of every image (PS3.3 C.7.6 and C.8.2), and no profile takes away
_NEEDED: Final = (
    "SOPClassUID", "Modality", "ImageType", "Rows", "Columns", "PixelSpacing", "SliceThickness", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelData", "BitsAllocated", "PixelRepresentation", "RescaleSlope", "RescaleIntercept",
    "PhotometricInterpretation", "KVP", "RepetitionTime", "EchoTime", "MagneticFieldStrength", "Manufacturer",
)  # fmt: skip


def clean_medaug(source: Path, out: Path, workers: int = 1) -> None:
    """The whole command, with a key of its own."""
    from medaug.workflows.deidentify import DeidentifyOptions, deidentify

    key = out.with_name(f"{out.name}.key")
    key.unlink(missing_ok=True)
    deidentify(DeidentifyOptions(source=source, out=out, key_file=key, workers=workers), NoProgress())


def clean_anonymizer(source: Path, out: Path) -> None:
    """Its function for a file, over a folder; private elements go, as on the other side."""
    anonymize = importlib.import_module(f"{_PEER}.simpledicomanonymizer").anonymize_dicom_file
    out.mkdir()
    for number, path in enumerate(sorted(path for path in source.rglob("*") if path.is_file())):
        anonymize(str(path), str(out / f"{number}.dcm"), {}, True)


def afresh(clean: Clean, source: Path) -> None:
    """Clean into a folder that is new, and remove it."""
    with tempfile.TemporaryDirectory() as folder:
        clean(source, Path(folder) / "out")


def write_files(folder: Path, series: int) -> None:
    """Series of ten files, in turns of a CT and of an MR scanner."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(series):
        path = get_testdata_file(_SCANNERS[number % len(_SCANNERS)], download=False)
        content = Path(str(path)).read_bytes()
        header = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
        content = _renamed(content, str(header.SeriesInstanceUID), number)
        for place in range(_SLICES):
            slice_ = _renamed(content, str(header.SOPInstanceUID), number * _SLICES + place)
            (folder / f"{number:04d}{place:02d}.dcm").write_bytes(slice_)


def _renamed(content: bytes, uid: str, number: int) -> bytes:
    return content.replace(uid.encode(), f"{uid[:-5]}{10000 + number}".encode())


def sides(notes: list[str]) -> dict[str, Clean]:
    """medaug, and the peer where it is installed."""
    found: dict[str, Clean] = {"medaug": clean_medaug}
    if importlib.util.find_spec(_PEER):
        found["anonymizer"] = clean_anonymizer
    else:
        notes.append(f"anonymizer: not installed; pip install {_PACKAGE}")
    return found


def compare(source: Path, repeats: int, clock: Callable[[], float]) -> BenchmarkResult:
    """Time both sides on one core."""
    notes: list[str] = []
    cleaners = sides(notes)
    seconds = alternate(
        {name: partial(afresh, one, source) for name, one in cleaners.items()}, repeats, clock
    )
    count = sum(path.is_file() for path in source.rglob("*"))
    notes += [f"{name}: {1000 * taken / count:.2f} ms a file" for name, taken in seconds.items()]
    if clock is not time.perf_counter:
        notes.append("seconds of the processor")
    return _result(
        f"{count} DICOM files",
        seconds,
        source,
        {name: partial(afresh, one) for name, one in cleaners.items()},
        repeats,
        notes,
    )


def compare_workers(source: Path, repeats: int) -> BenchmarkResult:
    """Time two processes against one."""
    counts = {"medaug": 2, "one_worker": 1}
    work = {name: partial(afresh, partial(clean_medaug, workers=count)) for name, count in counts.items()}
    seconds = alternate({name: partial(one, source) for name, one in work.items()}, repeats)
    count = sum(path.is_file() for path in source.rglob("*"))
    here, other = _shares(partial(work["medaug"], source))
    setting = f"{count} DICOM files, two processes (medaug) against one; starting the second is counted"
    notes = [
        f"seconds of the processor, of two: {here:.1f} in the first, {other:.1f} in the second",
        "the peak is that of one process",
    ]
    return _result(setting, seconds, source, dict.fromkeys(work, work["one_worker"]), repeats, notes)


def _shares(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds of the processor that this process and those that it starts spend."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    before = [resource.getrusage(kind) for kind in kinds]
    work()
    after = [resource.getrusage(kind) for kind in kinds]
    here, other = (
        now.ru_utime + now.ru_stime - was.ru_utime - was.ru_stime
        for was, now in zip(before, after, strict=True)
    )
    return here, other


def compare_memory(folder: Path, repeats: int) -> BenchmarkResult:
    """Peak memory over a few series and over many."""
    work = {}
    for count in (_FEW, _MANY):
        write_files(folder / str(count), count)
        work[f"{count} series"] = partial(_of_part, str(count))
    seconds = alternate({name: partial(one, folder) for name, one in work.items()}, repeats)
    return _result(f"series of {_SLICES} files, cleaned in one call", seconds, folder, work, repeats, [])


def _of_part(part: str, folder: Path) -> None:
    afresh(clean_medaug, folder / part)


def _result(
    setting: str,
    seconds: dict[str, float],
    source: Path,
    work: Mapping[str, Callable[[Path], None]],
    repeats: int,
    notes: Sequence[str],
) -> BenchmarkResult:
    peers = ("anonymizer", "one_worker")
    installed = [_PACKAGE] if importlib.util.find_spec(_PEER) else []
    return BenchmarkResult(
        name="deidentify",
        setting=setting,
        ratios={peer: round(seconds[peer] / seconds["medaug"], 3) for peer in peers if peer in seconds},
        seconds=seconds,
        peaks_mb={name: peak_mb(one, source) for name, one in work.items()},
        threads=1,
        repeats=repeats,
        versions=versions("pydicom", *installed),
        notes=tuple(notes),
    )


@final
@dataclass(frozen=True, slots=True)
class Told:
    """What a side let through of one canary file.

    Attributes:
        leaks: Values of the confidentiality table that stand in the output.
        canaries: Values that were looked for.
    """

    leaks: int
    canaries: int


def count_leaks(clean: Clean, depth: int) -> Told:
    """Clean a file that holds a value of its own for every attribute of the table; no output counts as all of them."""
    from tests.unit.privacy.canaries import table_file

    made = table_file(depth)
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "source", Path(folder) / "out"
        source.mkdir()
        (source / "canary.dcm").write_bytes(made.content())
        clean(source, out)
        content = b"".join(path.read_bytes() for path in out.rglob("*.dcm")).lower()
    canaries = [canary.lower() for canary in made.values.values()]
    return Told(sum(canary in content for canary in canaries) if content else len(canaries), len(canaries))


def count_kept(clean: Clean, source: Path) -> tuple[int, int]:
    """How many of the attributes that analysis needs came out as they went in, of how many."""
    kept = wanted = 0
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        clean(source, out)
        after = {_place(header): header for header in map(pydicom.dcmread, out.rglob("*.dcm"))}
        for path in source.rglob("*.dcm"):
            header = pydicom.dcmread(path)
            made = after.get(_place(header), pydicom.Dataset())
            present = [keyword for keyword in _NEEDED if keyword in header]
            wanted += len(present)
            kept += sum(made.get(keyword) == header[keyword].value for keyword in present)
    return kept, wanted


def _place(header: pydicom.Dataset) -> tuple[str, str]:
    """Tells the two images apart, whatever they are called."""
    return str(header.Modality), str(header.get("ImagePositionPatient"))


def compare_leaks(source: Path, repeats: int) -> BenchmarkResult:
    """Count, for each side: what came out that must not, and apart from it what was lost."""
    notes: list[str] = []
    seconds = {}
    for name, clean in sides(notes).items():
        begun = time.perf_counter()
        for depth in _DEPTHS:
            told = count_leaks(clean, depth)
            where = f"nested {depth} deep" if depth else "at top level"
            notes.append(f"{name}: leaks {told.leaks} of {told.canaries} values of the table {where}")
        kept, wanted = count_kept(clean, source)
        notes.append(f"{name}: utility {kept} of {wanted} attributes that analysis needs are as they were")
        seconds[name] = round(time.perf_counter() - begun, 3)
    work = dict.fromkeys(seconds, partial(afresh, clean_medaug))
    result = _result(
        "canary files, counted once; the seconds and peaks mean nothing here",
        seconds,
        source,
        work,
        repeats,
        notes,
    )
    return result.model_copy(update={"ratios": {}, "repeats": 1})


def main() -> int:
    """Read the command line, make the files unless some are named, and print."""
    options = parser("De-identify DICOM files.", repeats=5)
    options.add_argument("what", nargs="?", choices=("speed", "workers", "memory", "leaks"), default="speed")
    options.add_argument(
        "--source", type=Path, help="a folder of DICOM files; default: copies made for this run"
    )
    options.add_argument(
        "--series", type=at_least_one, help="of ten files (default 10; workers 400; leaks 2)"
    )
    options.add_argument(
        "--clock", choices=tuple(CLOCKS), default="wall", help="of speed: cpu counts seconds of the processor"
    )
    asked = options.parse_args()
    limit_threads(asked.threads)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        source = asked.source or Path(folder) / "source"
        if asked.source is None and asked.what != "memory":
            write_files(source, asked.series or {"speed": 10, "workers": 400, "leaks": 2}[asked.what])
        if asked.what == "memory":
            result = compare_memory(Path(folder), asked.repeats)
        elif asked.what == "workers":
            result = compare_workers(source, asked.repeats)
        elif asked.what == "leaks":
            result = compare_leaks(source, asked.repeats)
        else:
            result = compare(source, asked.repeats, CLOCKS[asked.clock])
        show(result, as_json=asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
