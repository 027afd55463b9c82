"""Cleaning of texts: known identifiers, what is written as identifiers are, and in descriptions every unknown word."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Final, final

_MONTH = (
    r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|m[aä]r|mai|okt|dez|fev|fév|avr|juin|juil|ao[uû]|déc)"
)
_PATTERNS: Final = re.compile(
    "|".join(
        (
            r"\S+@\S+",
            r"(?:https?|ftp|file)://\S+|\bwww\.\S+",
            r"(?<![\d.])[0-2](?:\.\d+){4,}",
            # dates: 1985-03-12, 12/03/85, 12.3.1985, 19850312, 12 March 1985, March 12, 1985, 12MAR1985
            r"(?<!\d)\d{4}[-./]\d{1,2}[-./]\d{1,2}(?!\d)",
            r"(?<![\d.])\d{1,2}([-/])\d{1,2}\1\d{2}(?:\d{2})?(?!\d)",
            r"(?<![\d.])\d{1,2}\.\s?\d{1,2}\.\s?\d{4}(?!\d)",
            r"(?<!\d)(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?!\d)",
            rf"(?<!\d)\d{{1,2}}(?:st|nd|rd|th)?[.\s-]*(?:of\s+)?{_MONTH}[a-zäéû]*[.,\s-]*\d{{2,4}}(?!\d)",
            rf"\b{_MONTH}[a-z]*[.\s]+\d{{1,2}}(?:st|nd|rd|th)?,?\s+\d{{2,4}}(?!\d)",
            # telephone numbers, and numbers long enough to be one or to count patients
            r"(?<![\w.])\+?\(?\d{2,5}\)?(?:[ /-]{1,2}\(?\d{2,5}\)?){2,}(?![\w.])",
            r"(?<![\w.])\d{3}[.]\d{3}[.]\d{4}(?!\d)",
            r"(?<![\w.])\+?\d{7,}(?![\w.])",
        )
    ),
    re.IGNORECASE,
)
_SMALL = re.compile(
    r"\d{1,3}(?:\.\d{1,3})?(?:mm|cm|ms|s|sec|min|kv|kvp|mas|t|x|d|mg|ml|w|y|keV)?|[tb]\d{1,4}|(?:te|tr|ti)\d{1,4}|[lctsv]\d{1,2}",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+(?:[.-][^\W_]+)*")
# After these a person is named; a word that is also a body part is one no more
_NAMING = frozenset(
    [
        "dr",
        "prof",
        "professor",
        "doctor",
        "mrs",
        "miss",
        "herr",
        "frau",
        "mme",
        "monsieur",
        "by",
        "for",
        "physician",
        "patient",
        "name",
        "referred",
        "ordered",
        "attn",
        "sister",
        "nurse",
    ]
)
_NAMED_WORDS = 2
_UMLAUTS = str.maketrans(
    {letter: bare + "e" for letter, bare in zip("äöüÄÖÜ", "aouAOU", strict=True)} | {"ß": "ss"}
)
_SPACES = re.compile(r"[ \t]{2,}")
_SHORTEST_WORD, _SHORTEST_ANYWHERE = 2, 6


@cache
def vocabulary() -> frozenset[str]:
    """Words that may stay in a cleaned description, in lower case."""
    text = resources.files("medaug.privacy._deidentify").joinpath("vocabulary.txt").read_text("utf-8")
    return frozenset(
        word for line in text.splitlines() if not line.startswith("#") for word in line.lower().split()
    )


@final
class Scrubber:
    """Takes identifiers out of texts.

    Args:
        names: Parts of names and addresses; whole words of any case.
        ids: Numbers, codes and phrases as they stand; the longer ones wherever they stand.
    """

    def __init__(self, names: Iterable[str] = (), ids: Iterable[str] = ()) -> None:
        words = {form for name in names for form in _spellings(name) if len(form) >= _SHORTEST_WORD}
        phrases = {form for one in ids for form in _spellings(one)}
        everywhere = {phrase for phrase in phrases if len(phrase) >= _SHORTEST_ANYWHERE}
        self._all = _compiled(words | phrases - everywhere, everywhere)
        safe = vocabulary()
        # in codes and labels a word of the trade is one, even where a patient is called so
        self._telling = _compiled(
            {word for word in words | phrases - everywhere if word.lower() not in safe},
            {phrase for phrase in everywhere if phrase.lower() not in safe},
        )
        searched = sorted(
            {
                one
                for one in words | phrases
                if len(one) >= 5 and one.lower() not in safe and not one.isspace()
            }
        )
        forms = {
            one.encode(name)
            for one in searched
            for name in ("utf-8", "latin-1", "utf-16-le")
            if _fits(one, name)
        }
        self._bytes = (
            re.compile(b"|".join(re.escape(form) for form in sorted(forms)), re.IGNORECASE) if forms else None
        )

    def holds_identifier(self, text: str) -> bool:
        """Whether a known identifier stands in a text."""
        return self._telling is not None and self._telling.search(text) is not None

    def is_in_bytes(self, value: bytes) -> bool:
        """Whether a known identifier stands in bytes, in any common encoding."""
        return self._bytes is not None and self._bytes.search(value) is not None

    def label(self, text: str) -> str:
        """A short text of the trade without known identifiers, and without anything written as identifiers are."""
        return self.code(_tidy(_PATTERNS.sub(" ", text), text))

    def code(self, text: str) -> str:
        """A coded text without known identifiers."""
        return text if self._telling is None else _tidy(self._telling.sub(" ", text), text)

    def description(self, text: str) -> str:
        """A free text of which only words of the trade and small numbers stay."""
        cleaned = text if self._all is None else self._all.sub(" ", text)
        return _known_words(_PATTERNS.sub(" ", cleaned))


def _known_words(text: str) -> str:
    safe = vocabulary()
    kept, at, named = [], 0, 0
    for match in _WORD.finditer(text):
        word = match.group().lower()
        between = text[at : match.start()] if at else ""
        at = match.end()
        if word in _NAMING:
            named = _NAMED_WORDS
        elif named:
            named -= 1
        elif _is_known(word, safe):
            kept.append((between if between.strip() in ("/", "-", "_", "+", ",") else " ") + match.group())
    return "".join(kept).strip(" /-_+,")


def _is_known(word: str, safe: frozenset[str]) -> bool:
    parts = re.split(r"[.-]", word)
    return (
        word in safe
        or _SMALL.fullmatch(word) is not None
        or (len(parts) > 1 and all(part in safe for part in parts))
    )


def _tidy(cleaned: str, text: str) -> str:
    return text if cleaned == text else _SPACES.sub(" ", cleaned).strip()


def _compiled(words: set[str], everywhere: set[str]) -> re.Pattern[str] | None:
    whole = "|".join(re.escape(word) for word in sorted(words, key=_longest_first) if word)
    within = "|".join(re.escape(one) for one in sorted(everywhere, key=_longest_first))
    parts = [rf"(?<![^\W_])(?:{whole})(?![^\W_])"] if whole else []
    parts += [within] if within else []
    return re.compile("|".join(parts), re.IGNORECASE) if parts else None


def _longest_first(word: str) -> tuple[int, str]:
    return -len(word), word


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _spellings(text: str) -> set[str]:
    """A word as it stands, without accents, and with umlauts written out."""
    bare = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    umlauts = text.translate(_UMLAUTS)
    return {form.strip() for form in (text, bare, umlauts) if form.strip()}
