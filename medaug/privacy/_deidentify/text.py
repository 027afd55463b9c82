"""Cleaning of texts: known identifiers, what is written as identifiers are, and in descriptions every unknown word."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
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
            rf"\b{_MONTH}[a-z]*[.\s/-]+\d{{1,2}}(?:st|nd|rd|th)?[,\s/-]+\d{{2,4}}(?!\d)",
            rf"\b{_MONTH}[a-z]*[.,\s-]+(?:18|19|20)\d{{2}}(?!\d)",
            # whoever has a title
            r"\b(?:dr\.|prof\b\.?|mrs\b\.?|herr\b|frau\b)\s*[^\W\d_][\w'’-]*",
            # ages above 89, however they are written
            r"(?<![\d.])(?:9\d|1[01]\d)(?:\s|-)?(?:y|yo|y/o|yrs?|years?)\b(?:[\s-]?(?:old|of age)\b)?",
            # telephone numbers, and numbers long enough to be one or to count patients
            r"(?<![\w.])\+?\(?\d{2,5}\)?(?:[ /-]{1,2}\(?\d{2,5}\)?){2,}(?![\w.])",
            r"(?<![\w.])\d{3}[.]\d{3}[.]\d{4}(?!\d)",
            r"(?<![\w.-])\d{3}-\d{4}(?![\w.-])",
            r"(?<![\w.])\+?\d{7,}(?:[ /-]\d{2,6})*(?![\w.])",
        )
    ),
    re.IGNORECASE,
)
_SMALL = re.compile(
    r"\d{1,3}(?:\.\d{1,3})?(?:mm|cm|ms|s|sec|min|kv|kvp|mas|t|x|d|mg|ml|w|y|keV)?|[tb]\d{1,4}|(?:te|tr|ti)\d{1,4}|[lctsv]\d{1,2}",
    re.IGNORECASE,
)
_JOINED = re.compile(r"[.-]")
_RUNS = re.compile(r"\d+|[^\W\d_]+")
_PARTS = re.compile(r"\d+|[A-Z]+(?![a-z])|[^\W\d_A-Z]+|[A-Z][^\W\d_A-Z]*|[^\W\d_]")
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
# Of letters that are written without blanks between the words: Han, kana, Hangul
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_SHORTEST_WORD, _SHORTEST_ANYWHERE, _SHORTEST_NAME_ANYWHERE = 2, 6, 7
_SHORTEST_IN_BYTES = 5
_ENCODINGS = (
    "utf-8",
    "latin-1",
    "utf-16-le",
    "utf-16-be",
    "gb18030",
    "shift_jis",
    "euc_jp",
    "euc_kr",
    "iso8859_5",
)


@cache
def vocabulary() -> frozenset[str]:
    """Words that may stay in a cleaned description, in lower case."""
    return _words("vocabulary.txt")


@cache
def general_words() -> frozenset[str]:
    """What places are called in general, in lower case."""
    return _words("places.txt")


def _words(file: str) -> frozenset[str]:
    text = resources.files("medaug.privacy._deidentify").joinpath(file).read_text("utf-8")
    return frozenset(
        word for line in text.splitlines() if not line.startswith("#") for word in line.lower().split()
    )


def is_name(word: str) -> bool:
    """Whether a word is long enough to be looked for: one sign where a sign is a word, else two."""
    return len(word) >= _SHORTEST_WORD or _UNSPACED.search(word) is not None


@final
class Scrubber:
    """Takes identifiers out of texts.

    Args:
        names: Parts of names and addresses; whole words of any case.
        ids: Numbers, codes and phrases as they stand; the longer ones wherever they stand.
    """

    def __init__(self, names: Iterable[str] = (), ids: Iterable[str] = ()) -> None:
        words = {form for name in names for form in _spellings(name) if is_name(form)}
        phrases = {form for one in ids for form in _spellings(one)}
        self._all = _compiled(words, phrases)
        # in codes and labels a word of the trade is one, even where a patient is called so
        safe = vocabulary()
        words, phrases = ({one for one in known if one.lower() not in safe} for known in (words, phrases))
        self._telling = _compiled(words, phrases)
        shortest = {one: _SHORTEST_IN_BYTES if one.isascii() else _SHORTEST_WORD for one in words | phrases}
        forms = {
            one.encode(name)
            for one, length in shortest.items()
            for name in _ENCODINGS
            if len(one) >= length and _fits(one, name)
        }
        searched = sorted(form for form in forms if len(form) >= _SHORTEST_IN_BYTES - 1)
        self._bytes = re.compile(b"|".join(map(re.escape, searched)), re.IGNORECASE) if searched else None

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
        """A free text of which only words of the field and small numbers stay."""
        cleaned = text if self._all is None else self._all.sub(" ", text)
        return _known_words(_PATTERNS.sub(" ", cleaned))


def _known_words(text: str) -> str:
    kept, at, named = [], 0, 0
    for match in _WORD.finditer(text):
        word = match.group()
        between = text[at : match.start()] if at else ""
        at = match.end()
        if word.lower() in _NAMING:
            named = _NAMED_WORDS
        elif named:
            named -= 1
        elif _is_known(word):
            kept.append((between if between.strip() in ("/", "-", "_", "+", ",") else " ") + match.group())
    return "".join(kept).strip(" /-_+,")


@lru_cache(maxsize=8192)
def _is_known(word: str) -> bool:
    """Whether a word, or each part of it (``GTV1``, ``SpinalCord``, ``follow-up``), is of the trade or a small number."""
    safe = vocabulary()
    if word.lower() in safe or _SMALL.fullmatch(word):
        return True
    parts = _JOINED.split(word)
    if len(parts) == 1:
        parts = _PARTS.findall(word)
    is_worded = any(not part.isdigit() for part in parts)
    return len(parts) > 1 and is_worded and all(map(_is_known, parts))


def _tidy(cleaned: str, text: str) -> str:
    return text if cleaned == text else _SPACES.sub(" ", cleaned).strip()


def _compiled(words: set[str], phrases: set[str]) -> re.Pattern[str] | None:
    """Names as whole words, beside which a digit may stand; ids as whole ones; long ones of both wherever they stand."""
    everywhere = {one for one in phrases if len(one) >= _SHORTEST_ANYWHERE}
    everywhere |= {one for one in words if _is_found_anywhere(one)}
    parts = [
        before + f"(?:{'|'.join(_spelled(one) for one in sorted(known, key=_longest_first))})" + after
        for known, before, after in (
            (words - everywhere, r"(?<![^\W\d_])", r"(?![^\W\d_])"),
            (phrases - everywhere, r"(?<![^\W_])", r"(?![^\W_])"),
            (everywhere, "", ""),
        )
        if known
    ]
    return re.compile("|".join(parts), re.IGNORECASE) if parts else None


def _spelled(one: str) -> str:
    """A word, or an id with any signs or none between its numbers and words."""
    parts = _RUNS.findall(one)
    return r"[\W_]*".join(parts) if len("".join(parts)) >= _SHORTEST_ANYWHERE else re.escape(one)


def _is_found_anywhere(word: str) -> bool:
    """Whether a name is taken out of longer words: it is long, and no part of a word of the trade."""
    if _UNSPACED.search(word):
        return True
    return len(word) >= _SHORTEST_NAME_ANYWHERE and word.lower() not in _joined_vocabulary()


@cache
def _joined_vocabulary() -> str:
    return " ".join(sorted(vocabulary()))


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
