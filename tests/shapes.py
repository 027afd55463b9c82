"""Checks the shapes and dtypes that signatures promise (rule 5), whenever a test calls the function.

pytest's --jaxtyping-packages decorates every function of the library with `of_arrays` (tests/conftest.py), which hands
those that hold an array to jaxtyping, and that to `check`. Only parameters and results that hold a jaxtyping array are
looked at; mypy has seen the rest, and protocols cannot be checked by isinstance.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType, UnionType
from typing import Any

from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray, config, jaxtyped

Function = Callable[..., Any]
Decorated = Function | type
_beartype = beartype(conf=BeartypeConf(is_pep484_tower=True))


@contextmanager
def wrong_on_purpose() -> Iterator[None]:
    """Let a test hand over arrays that the signature forbids, to see what the library itself says of them."""
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", False)


def holds_array(hint: object) -> bool:
    """Whether an annotation is a jaxtyping array, or a union, list or tuple of such."""
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    plain = typing.get_origin(hint) in (typing.Union, UnionType, list, tuple, typing.Annotated)
    return plain and any(holds_array(inner) for inner in typing.get_args(hint))


def of_arrays(*, typechecker: Callable[[Function], Function]) -> Callable[[Decorated], Decorated]:
    """jaxtyping's decorator for what has arrays; all other functions stay as they are, and fast."""

    def decorate(what: Decorated) -> Decorated:
        return jaxtyped(what, typechecker=typechecker) if has_arrays(what) else what

    return decorate


def has_arrays(what: Decorated) -> bool:
    """Whether a parameter or the result of a function is an array, or a field of a dataclass."""
    function = what.__init__ if dataclasses.is_dataclass(what) else what
    if not isinstance(function, FunctionType):
        return False
    return any(holds_array(_read(hint, function.__globals__)) for hint in function.__annotations__.values())


def _read(hint: object, names: dict[str, Any]) -> object:
    """An annotation; anything at all where it has no meaning (yet), as jaxtyping takes it."""
    try:
        return eval(hint, names) if isinstance(hint, str) else hint
    except (NameError, AttributeError, TypeError, ValueError):
        return Any


def check(function: Function) -> Function:
    """The function with its array annotations checked at every call; the function itself if it has none."""
    if not isinstance(function, FunctionType):
        return function
    try:
        hints = typing.get_type_hints(function)
    except (NameError, AttributeError, TypeError):
        return function  # an annotation that exists only for the type checker
    arrays = {name: hint for name, hint in hints.items() if holds_array(hint)}
    if not arrays:
        return function

    copy = FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__annotations__ = arrays
    copy.__qualname__, copy.__module__, copy.__doc__ = (
        function.__qualname__,
        function.__module__,
        function.__doc__,
    )
    return typing.cast("Function", _beartype(copy))
