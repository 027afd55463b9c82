"""Is a folder of DICOM files valid? dciodvfy looks at every file, dcentvfy at what files say of one patient, study or series.

    medaug convert DATASET --to dicom --key-file keys/uids --out runs/dicom
    python scripts/check_dicom_out.py runs/dicom

Both come with dicom3tools (Debian: `apt-get install --no-install-recommends dicom3tools`). Errors of dciodvfy count, its
warnings do not; of dcentvfy every line counts. One error is allowed: Debian's build of 2022 does not know Synthetic Data
(0008,001C), which PS3.3 table C.12-1 holds. Nor does it know label map segmentations, which are counted apart.
Ends with 1 if anything is wrong, with 3 if the tools are missing.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydicom import dcmread

_LABEL_MAP: Final = "1.2.840.10008.5.1.4.1.1.66.7"
TOOLS: Final = ("dciodvfy", "dcentvfy")
ALLOWED: Final = (
    "Error - Attribute with an even group number is not a recognized standard attribute - (0x0008,0x001c)  ?",
)


def missing() -> tuple[str, ...]:
    """The tools that are not installed."""
    return tuple(tool for tool in TOOLS if shutil.which(tool) is None)


def is_unknown(path: Path) -> bool:
    """Whether the tools do not know this kind of object."""
    return bool(dcmread(path, stop_before_pixels=True).SOPClassUID == _LABEL_MAP)


def errors_of(path: Path) -> tuple[str, ...]:
    """What dciodvfy calls an error in one file, less what is allowed."""
    lines = (line.strip() for line in _said("dciodvfy", path))
    return tuple(line for line in lines if line.startswith(("Error", "Abort")) and line not in ALLOWED)


def contradictions(paths: Sequence[Path]) -> tuple[str, ...]:
    """What dcentvfy says of files that belong together; nothing where they agree."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.write("".join(f"{path}\n" for path in paths))
        listed.flush()
        return tuple(line for line in _said("dcentvfy", "-f", listed.name) if line.strip())


def _said(*command: str | Path) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return (done.stdout + done.stderr).splitlines()


def main(argv: Sequence[str] | None = None) -> int:
    """Check a folder; prints each kind of fault once, with a file that has it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="is searched for *.dcm at every depth")
    folder = parser.parse_args(argv).folder
    if missing():
        print(f"not installed: {', '.join(missing())} (Debian: dicom3tools)", file=sys.stderr)
        return 3
    paths = sorted(folder.rglob("*.dcm"))
    known = [path for path in paths if not is_unknown(path)]
    counts: Counter[str] = Counter()
    first: dict[str, Path] = {}
    for path in known:
        for line in errors_of(path):
            counts[line] += 1
            first.setdefault(line, path)
    for line, count in counts.most_common():
        print(f"{count} x {line} (such as {first[line].relative_to(folder)})")
    between = contradictions(known) if known else ()
    print("\n".join(between[:20]), end="\n" if between else "")
    print(
        f"{len(known)} files, {sum(counts.values())} errors, {len(between)} contradictions; "
        f"{len(paths) - len(known)} label map segmentations, which the tools do not know"
    )
    return 0 if known and not counts and not between else 1


if __name__ == "__main__":
    sys.exit(main())
