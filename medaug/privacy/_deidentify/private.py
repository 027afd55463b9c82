"""Private elements that may stay where their option is chosen: a reviewed list of numbers and codes, nothing else."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from importlib import resources

from medaug.privacy._deidentify.stream import Element
from medaug.privacy._deidentify.values import NUMBERS, SIZES, code_string, is_number


@cache
def safe_list() -> dict[tuple[str, int, int], str]:
    """Creator, group and element within its block to representation."""
    text = resources.files("medaug.privacy._deidentify").joinpath("safe_private.csv").read_text("utf-8")
    return {
        (line["creator"], int(line["group"], 16), int(line["element"], 16)): line["vr"]
        for line in csv.DictReader(text.splitlines())
    }


def safe_private(elements: Iterable[Element]) -> list[Element]:
    """The private elements of one data set or item that may stay, with the creators of their blocks."""
    private = [element for element in elements if element.tag >> 16 & 1 and element.items is None]
    creators = {
        (element.tag >> 16, element.tag & 0xFF): element
        for element in private
        if 0x10 <= element.tag & 0xFFFF <= 0xFF
    }
    kept: dict[int, Element] = {}
    for element in private:
        creator = creators.get((element.tag >> 16, element.tag >> 8 & 0xFF))
        if element.tag & 0xFFFF < 0x1000 or creator is None:
            continue
        name = creator.value.decode("latin-1").strip(" \0")
        vr = safe_list().get((name, element.tag >> 16, element.tag & 0xFF), "")
        if vr and element.vr in (vr, "UN") and _is_safe(vr, element.value):
            kept[element.tag] = replace(element, vr=vr)
            kept[creator.tag] = replace(creator, vr="LO", value=name.encode("ascii"))
    return [*kept.values()]


def _is_safe(vr: str, value: bytes) -> bool:
    """Whether a value is what its representation promises: numbers, or a short code."""
    if vr in SIZES:
        return len(value) % SIZES[vr] == 0
    if not value.isascii():
        return False
    parts = value.decode("ascii").split("\\")
    if vr in NUMBERS:
        return all(is_number(vr, part) for part in parts)
    return all(part.strip(" \0").isalpha() and code_string(part) is not None for part in parts)
