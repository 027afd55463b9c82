"""Which cases of a synthetic set are kept: a rule over the scores of their lesions, and a person's list.

A rule such as ``score>0.4 and label_dice>=0.5`` is read as a tree of comparisons and never run as code.
"""

from __future__ import annotations

import ast
import difflib
import math
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from medaug.core.assessment import Rejection, SampleScore
from medaug.core.case import CaseRecord
from medaug.core.errors import ConfigError, DataError, UnreadableError

CLASS: Final = "class"
FIGURES: Final = tuple(
    name for name, field in SampleScore.model_fields.items() if field.annotation in (float, float | None)
)
_LONGEST = 500
_CLASS_NAME = "class_name"  # `class` is a word of Python's own
_WORDS = re.compile(rf"""'[^']*'|"[^"]*"|\b{CLASS}\b""")
_EXAMPLE = "score>0.4 and label_dice>=0.5"
_COMPARE: Final[dict[type[ast.cmpop], Callable[..., bool]]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_Truth = bool | None  # None: it rests on what was not measured


@final
@dataclass(frozen=True, slots=True)
class KeepRule:
    """A rule that a synthetic lesion satisfies or not.

    Attributes:
        text: As it was written.
    """

    text: str
    _tree: ast.expr

    @staticmethod
    def parse(text: str, classes: Sequence[str], *, where: str) -> KeepRule:
        """Read a rule: comparisons of figures with numbers and of ``class`` with a name; and, or, not, parentheses.

        Args:
            text: The rule.
            classes: Names that ``class`` may be compared with.
            where: The option or key that holds it.

        Raises:
            ConfigError: If it is no rule; the line names the fields.
        """
        stripped = text.strip()
        if not stripped or len(stripped) > _LONGEST:
            raise _refusal("is empty" if not stripped else f"is longer than {_LONGEST} letters", where)
        try:
            tree = ast.parse(_WORDS.sub(_renamed, stripped), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            raise _refusal(f"{stripped!r} cannot be read{_slip(stripped)}", where) from error
        _check(tree, tuple(classes), where)
        return KeepRule(stripped, tree)

    def objection(self, sample: SampleScore) -> str:
        """Why a lesion breaks the rule; empty where it satisfies it.

        What was not measured satisfies no comparison, and not its contrary either.
        """
        truth, facts = _judge(self._tree, sample)
        return "" if truth is True else ", ".join(dict.fromkeys(facts))


def _renamed(word: re.Match[str]) -> str:
    return _CLASS_NAME if word[0] == CLASS else word[0]


def _slip(text: str) -> str:
    """What is often meant."""
    if re.search(r"&&|\|\||!(?!=)", text):
        return ": say and, or, not"
    return ": say ==" if re.search(r"(?<![<>=!])=(?!=)", text) else ""


def _refusal(what: str, where: str) -> ConfigError:
    known = f"fields: {', '.join((*FIGURES, CLASS))}"
    return ConfigError(f"rule {what}", where=where, expected=f"such as {_EXAMPLE!r}", hint=known)


def _check(node: ast.expr, classes: tuple[str, ...], where: str) -> None:
    """Raise ConfigError for whatever is no comparison, and, or or not."""
    match node:
        case ast.BoolOp(values=parts):
            for part in parts:
                _check(part, classes, where)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            _check(part, classes, where)
        case ast.Compare(left=left, ops=ops, comparators=others):
            sides = (left, *others)
            for first, op, second in zip(sides, ops, others, strict=False):
                _check_comparison(first, op, second, classes, where)
        case _:
            raise _refusal(f"compares nothing in {_written(node)!r}", where)


def _written(node: ast.expr) -> str:
    return ast.unparse(node).replace(_CLASS_NAME, CLASS)


def _check_comparison(
    left: ast.expr, op: ast.cmpop, right: ast.expr, classes: tuple[str, ...], where: str
) -> None:
    if type(op) not in _COMPARE:
        raise _refusal("compares with something else than < <= > >= == !=", where)
    kinds = [_kind(side, where) for side in (left, right)]
    if not any(isinstance(side, ast.Name) for side in (left, right)):
        raise _refusal(f"compares no field in {_written(left)!r}", where)
    if kinds[0] is not kinds[1]:
        raise _refusal(f"compares {_written(left)!r} with {_written(right)!r}", where)
    if kinds[0] is str and not isinstance(op, ast.Eq | ast.NotEq):
        raise _refusal(f"orders {CLASS}, which is == or != a name", where)
    for side in (left, right):
        if isinstance(side, ast.Constant) and isinstance(side.value, str) and side.value not in classes:
            close = difflib.get_close_matches(side.value, classes, n=1)
            meant = f"did you mean {close[0]}?" if close else f"classes: {', '.join(classes)}"
            raise ConfigError(f"rule names no class: {side.value!r}", where=where, hint=meant)


def _kind(node: ast.expr, where: str) -> type:
    """Float for a number or a figure, str for a text or the class."""
    match node:
        case ast.Name(id=name):
            if name not in FIGURES and name != _CLASS_NAME:
                close = difflib.get_close_matches(name, (*FIGURES, CLASS), n=1)
                meant = f", did you mean {close[0]}?" if close else "; texts want quotes"
                raise _refusal(f"has an unknown field {name!r}{meant}", where)
            return str if name == _CLASS_NAME else float
        case ast.Constant(value=str()):
            return str
        case _ if math.isfinite(_number(node)):
            return float
    raise _refusal(f"compares {_written(node)!r}, which is no field, number or text", where)


def _number(node: ast.expr) -> float:
    """A number that is written out, else not a number."""
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=part):
            return -_number(part)
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return float(number) if abs(number) < math.inf else math.nan
    return math.nan


def _judge(node: ast.expr, sample: SampleScore) -> tuple[_Truth, tuple[str, ...]]:
    """Whether it holds, and the figures that decide it."""
    match node:
        case ast.BoolOp(op=op, values=parts):
            return _joined([_judge(part, sample) for part in parts], decisive=isinstance(op, ast.Or))
        case ast.UnaryOp(operand=part):
            truth, facts = _judge(part, sample)
            return None if truth is None else not truth, facts
        case ast.Compare(left=left, ops=ops, comparators=others):
            sides = (left, *others)
            pairs = zip(sides, ops, others, strict=False)
            return _joined([_compared(*pair, sample) for pair in pairs], decisive=False)
    raise TypeError(f"{type(node).__name__} is no part of a rule")


def _joined(
    parts: Sequence[tuple[_Truth, tuple[str, ...]]], *, decisive: bool
) -> tuple[_Truth, tuple[str, ...]]:
    """``or`` where one True is decisive, ``and`` where one False is."""
    truths = [truth for truth, _ in parts]
    truth = decisive if decisive in truths else None if None in truths else not decisive
    asked = [facts for part, facts in parts if (part is True) is (truth is True)]
    return truth, tuple(fact for facts in asked for fact in facts)


def _compared(
    left: ast.expr, op: ast.cmpop, right: ast.expr, sample: SampleScore
) -> tuple[_Truth, tuple[str, ...]]:
    values = [_value(side, sample) for side in (left, right)]
    sides = zip((left, right), values, strict=True)
    facts = tuple(_fact(side.id, value) for side, value in sides if isinstance(side, ast.Name))
    return None if None in values else _COMPARE[type(op)](*values), facts


def _value(node: ast.expr, sample: SampleScore) -> float | str | None:
    match node:
        case ast.Name(id=name):
            value: float | str | None = getattr(sample, name)
            return value
        case ast.Constant(value=str() as text):
            return text
    return _number(node)


def _fact(field: str, value: float | str | None) -> str:
    name = CLASS if field == _CLASS_NAME else field
    if value is None:
        return f"{name} was not measured"
    return f"{name} is {value:.4g}" if isinstance(value, float) else f"{name} is {value}"


def broken(
    cases: Sequence[CaseRecord], samples: Sequence[SampleScore], rule: KeepRule, empty: frozenset[str]
) -> tuple[Rejection, ...]:
    """The cases that break a rule: those in which one lesion does, or in which no lesion was measured.

    Args:
        cases: Of the synthetic set.
        samples: What the assessment says of its lesions.
        rule: The rule.
        empty: Ids of the cases that were made without a lesion (null pastes); nothing speaks against them.
    """
    measured: dict[str, list[SampleScore]] = {}
    for sample in samples:
        measured.setdefault(sample.case_id, []).append(sample)
    found: list[Rejection] = []
    for record in cases:
        lesions = measured.get(record.case_id, [])
        holds_none = record.case_id in empty or (record.label is not None and not record.lesions)
        if not lesions and holds_none:
            continue
        reason = "; ".join(_objections(rule, lesions)) if lesions else "no lesion of it was measured"
        if reason:
            found.append(Rejection(case_id=record.case_id, reason=reason, rule=rule.text))
    return tuple(found)


def _objections(rule: KeepRule, lesions: Sequence[SampleScore]) -> Iterator[str]:
    for sample in lesions:
        objection = rule.objection(sample)
        if objection:
            yield f"lesion {sample.lesion}: {objection}" if len(lesions) > 1 else objection


def read_list(path: Path, known: Sequence[str], before: Sequence[str]) -> tuple[Rejection, ...]:
    """A person's list of cases that are left out: an id a line, then, where there is one, the reason.

    A space, tab, comma or semicolon ends the id; lines that begin with ``#`` are remarks. Cases that were left out before
    may stand in it.

    Args:
        path: The list.
        known: Ids of the cases of the set.
        before: Ids of those that were left out of it before.

    Raises:
        UnreadableError: If the file cannot be read.
        DataError: If it names no case, or one that the set does not hold.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        what = f"{path} cannot be read as text"
        raise UnreadableError(what, where="--reject", hint="save it as UTF-8") from error
    reasons = _parse_list(text)
    if not reasons:
        raise DataError(f"{path} names no case", where="--reject", expected="a case id on each line")
    unknown = [case_id for case_id in reasons if case_id not in {*known, *before}]
    if unknown:
        what = f"the set has no case {unknown[0]}" + (
            f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        )
        close = _nearest(unknown[0], known)
        meant = f"did you mean {close}?" if close else "`medaug inspect` lists the cases"
        raise DataError(what, where="--reject", hint=meant)
    present = set(known)
    return tuple(
        Rejection(case_id=case_id, reason=why) for case_id, why in reasons.items() if case_id in present
    )


def _nearest(case_id: str, known: Sequence[str]) -> str:
    """The id most like it, the first one of several; empty where none is."""
    close = set(difflib.get_close_matches(case_id, known, n=20))
    likeness = {one: difflib.SequenceMatcher(None, one, case_id).ratio() for one in known if one in close}
    return max(likeness, key=lambda one: likeness[one], default="")


def _parse_list(text: str) -> dict[str, str]:
    """Reasons by case id; of an id that stands twice the first reason."""
    reasons: dict[str, str] = {}
    for line in text.splitlines():
        words = re.split(r"[\s,;]+", line.strip(), maxsplit=1)
        case_id, reason = (words[0].strip("\"'"), words[1] if len(words) > 1 else "")
        if not case_id or case_id.startswith("#") or (not reasons and case_id == "case_id"):
            continue
        said = " ".join(reason.strip("\"'# ").split())
        reasons[case_id] = reasons.get(case_id) or said
    return reasons
