"""What a person asks an archive for: a few keys with wildcards, and whether an answer is what was asked.

Values are identifiers: no error quotes them. Answers are checked here once more, since an archive may ignore a key
that it does not support (PS3.4 section C.2.2.2) and would hand out other patients' studies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, final

from medaug.core.errors import ConfigError
from medaug.io.pacs import Answer, Archive, Instance, Level

_Kind = Literal["text", "date", "uid"]
# Keyword, the level at which it is matched, and how.
KEYS: tuple[tuple[str, Level, _Kind], ...] = (
    ("PatientID", Level.STUDY, "text"),
    ("StudyDate", Level.STUDY, "date"),
    ("StudyDescription", Level.STUDY, "text"),
    ("AccessionNumber", Level.STUDY, "text"),
    ("StudyInstanceUID", Level.STUDY, "uid"),
    ("Modality", Level.SERIES, "text"),
    ("SeriesDescription", Level.SERIES, "text"),
    ("BodyPartExamined", Level.SERIES, "text"),
    ("SeriesInstanceUID", Level.SERIES, "uid"),
)
_KINDS = {keyword: kind for keyword, _, kind in KEYS}
_NEXT_KEY = re.compile(r",(?=\s*\w+\s*=)")
_DATE = re.compile(r"\d{8}|\d{8}-|-\d{8}|\d{8}-\d{8}")
_UIDS = re.compile(r"[0-9.]{1,64}(\\[0-9.]{1,64})*")
_TEXT = re.compile(r"[^\\\x00-\x1f\x7f]{1,64}")
_FORMS = {
    "date": (_DATE, "YYYYMMDD or YYYYMMDD-YYYYMMDD"),
    "uid": (_UIDS, "a UID"),
    "text": (_TEXT, "1 to 64 characters without backslash; * and ? are wildcards"),
}


@final
@dataclass(frozen=True, slots=True)
class Query:
    """Keys of one or both levels with the values asked for (private)."""

    keys: tuple[tuple[str, str], ...] = field(repr=False)

    def at(self, level: Level) -> dict[str, str]:
        """All keys of a level, to be asked for; empty where the person gave no value."""
        given = dict(self.keys)
        return {keyword: given.get(keyword, "") for keyword, where, _ in KEYS if where is level}

    def asks_at(self, level: Level) -> bool:
        """Whether the person gave a key of this level."""
        return any(self.at(level).values())

    def accepts(self, answer: Answer, level: Level) -> bool:
        """Whether an answer shows every value that was asked for at its level."""
        return all(_matches(_KINDS[k], v, answer.text(k)) for k, v in self.at(level).items() if v)


@final
@dataclass(frozen=True, slots=True)
class FoundSeries:
    """One series with all its instances (private)."""

    study_uid: str = field(repr=False)
    uid: str = field(repr=False)
    instances: tuple[Instance, ...] = field(repr=False)


@final
@dataclass(slots=True)
class Search:
    """One way through an archive; counts the answers that were not what had been asked."""

    archive: Archive
    query: Query
    ignored: int = 0

    def series(self, level: Literal["study", "series"], limit: int | None) -> Iterator[FoundSeries]:
        """The series that match, or with ``study`` all series of each study that holds such a one.

        Args:
            level: What a match is.
            limit: At most so many studies or series, whichever ``level`` says.
        """
        count = 0
        for study_uid in self._studies():
            matches = self._series_of(study_uid, every=False)
            if level == "study":
                if next(matches, None) is None:
                    continue
                matches = self._series_of(study_uid, every=True)
                count += 1
            for uid in matches:
                if level == "series":
                    count += 1
                yield FoundSeries(study_uid, uid, tuple(self._instances(study_uid, uid)))
                if level == "series" and count == limit:
                    return
            if count == limit:
                return

    def _studies(self) -> Iterator[str]:
        keys = self.query.at(Level.STUDY)
        asked = keys | {"ModalitiesInStudy": self.query.at(Level.SERIES)["Modality"]}
        return self._uids(Level.STUDY, asked, {}, matching=True)

    def _series_of(self, study_uid: str, *, every: bool) -> Iterator[str]:
        keys = self.query.at(Level.SERIES)
        asked = dict.fromkeys(keys, "") if every else keys
        return self._uids(Level.SERIES, asked, {"StudyInstanceUID": study_uid}, matching=not every)

    def _uids(
        self, level: Level, asked: dict[str, str], above: dict[str, str], *, matching: bool
    ) -> Iterator[str]:
        """The UIDs of what matches, each once; answers of another study, or without a UID, are no match."""
        keyword, seen = f"{level.title()}InstanceUID", set[str]()
        for answer in self.archive.find(level, asked | above):
            uid = answer.uid(keyword)
            strange = (
                not uid
                or not _is_below(answer, above)
                or (matching and not self.query.accepts(answer, level))
            )
            if strange:
                self.ignored += 1
            elif uid not in seen:
                seen.add(uid)
                yield uid

    def _instances(self, study_uid: str, series_uid: str) -> Iterator[Instance]:
        above = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid}
        seen = set[str]()
        for answer in self.archive.find(Level.IMAGE, {"SOPInstanceUID": "", "SOPClassUID": ""} | above):
            uid = answer.uid("SOPInstanceUID")
            if not uid or not _is_below(answer, above):
                self.ignored += 1
            elif uid not in seen:
                seen.add(uid)
                yield Instance(study_uid, series_uid, uid, answer.uid("SOPClassUID"))


def parse_query(texts: Sequence[str]) -> Query:
    """Read ``KEY=VALUE,KEY=VALUE``; a comma that no key follows belongs to the value.

    Raises:
        ConfigError: If there is no key, an unknown one, one twice, or a value in no form of its key.
    """
    keys: dict[str, str] = {}
    for number, part in enumerate((p for text in texts for p in _NEXT_KEY.split(text)), start=1):
        keyword, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or keyword not in _KINDS:
            raise ConfigError(
                f"key {number} is unknown", where="--query", expected=f"KEY=VALUE with {', '.join(_KINDS)}"
            )
        form, said = _FORMS[_KINDS[keyword]]
        if keyword in keys or not form.fullmatch(value):
            what = "is given twice" if keyword in keys else "has no such form"
            raise ConfigError(f"{keyword} {what}", where="--query", expected=said)
        keys[keyword] = value
    if not keys:
        raise ConfigError("asks for everything", where="--query", expected="at least one KEY=VALUE")
    return Query(tuple(sorted(keys.items())))


def _is_below(answer: Answer, above: dict[str, str]) -> bool:
    """Whether an answer says nothing else of the levels above than what was asked."""
    return all(answer.text(keyword) in ("", uid) for keyword, uid in above.items())


def _matches(kind: _Kind, wanted: str, found: str) -> bool:
    """Wildcards, ranges and lists of UIDs as in PS3.4 section C.2.2.2; upper and lower case are the same."""
    if kind == "uid":
        return found in wanted.split("\\")
    if kind == "date":
        first, dash, last = wanted.partition("-")
        last = last if dash else first
        return bool(found) and (first or "0") <= found <= (last or "9")
    pattern = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in wanted)
    return re.fullmatch(pattern, found, re.IGNORECASE | re.DOTALL) is not None
