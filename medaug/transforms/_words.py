"""The drawn parameters of a step in words, for captions."""

from __future__ import annotations

from collections.abc import Sequence

from medaug.transforms._steps.spatial import Elastic, Flip, Permute, Rotate, Scale, Translate
from medaug.transforms._steps.step import Step

_AXES = "IJK"
_UNITS = {"deg": "deg", "mm": "mm", "hu": "HU", "voxels": "voxels"}
# More numbers than these are told by their number and range
_MOST = 3


def in_words(step: Step, dims: int = 3) -> str:
    """What a step was drawn to do, e.g. ``12 deg about K``; seeds are left out.

    Args:
        step: With its parameters.
        dims: Axes of the image.
    """
    special = _of_geometry(step, dims)
    if special:
        return special
    told = [_told(name, value, dims) for name, value in step if name not in ("kind", "seed")]
    return ", ".join(one for one in told if one)


def _of_geometry(step: Step, dims: int) -> str:
    """Changes of place in the words of a person; empty for other steps."""
    match step:
        case Flip(axes=axes):
            said = f"along {' and '.join(_AXES[axis] for axis in axes)}" if axes else "no axis"
        case Permute(order=order):
            said = f"shows axes {', '.join(_AXES[axis] for axis in order)}"
        case Rotate(angles_deg=angles):
            turned = angles if dims == 3 else (0.0, 0.0, angles[2])
            parts = [f"{a:.0f} deg about {x}" for a, x in zip(turned, _AXES, strict=True) if abs(a) >= 0.5]
            said = ", ".join(parts) or "less than 0.5 deg"
        case Scale(factors=factors):
            said = "times " + _along(factors, dims)
        case Translate(shift_mm=shift):
            said = _along(shift, dims) + " mm"
        case Elastic(cells=cells, share=share):
            said = f"{' x '.join(str(n) for n in cells)} cells, {share:.0%} of the bound"
        case _:
            said = ""
    return said


def _along(values: Sequence[float], dims: int) -> str:
    return ", ".join(f"{_number(v)} {x}" for v, x in zip(values[:dims], _AXES, strict=False))


def _told(name: str, value: object, dims: int) -> str:
    """One parameter: its name, its value and the unit that the name ends with."""
    words = name.split("_")
    unit = f" {_UNITS[words[-1]]}" if words[-1] in _UNITS and len(words) > 1 else ""
    called = " ".join(words[:-1] if unit else words)
    if isinstance(value, bool):
        return called.removeprefix("is ") if value else ""
    if name == "axis" and isinstance(value, int):
        return f"along {_AXES[value]}"
    if isinstance(value, float | int):
        return f"{called} {_number(value)}{unit}"
    if not isinstance(value, tuple):
        return f"{called} {value}"
    if all(isinstance(one, float | int) for one in value):
        return f"{called} {_numbers(value, dims)}{unit}"
    most = max(abs(float(number)) for one in value for number in one)
    return f"{len(value)} {called} up to {_number(most)}{unit}"


def _numbers(values: Sequence[float], dims: int) -> str:
    if len(values) == _MOST:
        return _along(values, dims)
    if len(values) < _MOST:
        return " and ".join(_number(one) for one in values)
    return f"{_number(min(values))} to {_number(max(values))}"


def _number(value: float) -> str:
    return f"{value:.2g}" if abs(value) < 10 else f"{value:.0f}"
