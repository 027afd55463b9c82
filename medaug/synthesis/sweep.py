"""Sweeps: one lesion drawn again and again, one property of it changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final, get_args

from medaug.core.errors import ConfigError

Property = Literal["diameter_mm", "contrast", "sharpness"]
_WHERE = "--sweep"
_RANGES = {"diameter_mm": (0.0, 500.0), "contrast": (0.0, 4.0), "sharpness": (0.1, 10.0)}


@final
@dataclass(frozen=True, slots=True)
class Sweep:
    """Values of a property that each lesion is drawn with, ascending."""

    name: Property
    values: tuple[float, ...]


def parse_sweep(text: str) -> Sweep:
    """Read ``PROPERTY=VALUE,VALUE``.

    Raises:
        ConfigError: If the text is of another form, the property unknown, or a value out of range.
    """
    name, equals, listed = text.partition("=")
    known: tuple[Property, ...] = get_args(Property)
    found = next((one for one in known if one == name.strip()), None)
    if found is None or not equals:
        raise ConfigError(
            f"cannot read {text!r}",
            where=_WHERE,
            expected=f"PROPERTY=VALUE,VALUE with one of {', '.join(known)}",
        )
    try:
        values = tuple(sorted({float(part) for part in listed.split(",")}))
    except ValueError as error:
        raise ConfigError(f"{listed!r} are no numbers", where=_WHERE, expected="e.g. 4,6,8,12") from error
    low, high = _RANGES[found]
    wrong = [value for value in values if not (low <= value <= high and value + (found != "diameter_mm") > 0)]
    if wrong or len(values) < 2:
        raise ConfigError(
            f"{found} of {listed}", where=_WHERE, expected=f"two or more values of {low:g} to {high:g}"
        )
    return Sweep(found, values)
