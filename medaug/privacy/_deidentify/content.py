"""Items of structured content that name a person, a device or a place, whatever their value is (PS3.16 TID 1001 to 1010)."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Final

from medaug.privacy._deidentify.stream import Element
from medaug.privacy._deidentify.table import Option, Profile

CONCEPT_NAME: Final = 0x0040A043
_CODE_VALUE, _CODING_SCHEME = 0x00080100, 0x00080102


@cache
def content_items() -> dict[tuple[str, str], str]:
    """Coding scheme and code of a concept to the option under which its value stays; nothing where none lets it."""
    text = resources.files("medaug.privacy._deidentify").joinpath("content_items.csv").read_text("utf-8")
    return {(line["scheme"], line["code"]): line["option"] for line in csv.DictReader(text.splitlines())}


def is_withheld(item: Iterable[Element], profile: Profile) -> bool:
    """Whether the value of a content item is replaced: form and concept stay, so that references by place still lead there."""
    name = next((element for element in item if element.tag == CONCEPT_NAME and element.items), None)
    if name is None or not name.items:
        return False
    words = {element.tag: element.value.decode("latin-1").strip(" \0") for element in name.items[0]}
    option = content_items().get((words.get(_CODING_SCHEME, ""), words.get(_CODE_VALUE, "")))
    return option is not None and (not option or Option(option) not in profile.options)
