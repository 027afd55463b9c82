"""All steps by name, and which of them suit which kind of image."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from pydantic import ValidationError

from medaug.core.config import explain
from medaug.core.errors import ConfigError
from medaug.core.volume import Unit
from medaug.transforms._steps import ct, filters, grey, mr, spatial, us
from medaug.transforms._steps.step import Step

Preset = Literal["auto", "general", "ct", "mr", "pet", "us", "xray"]

_GEOMETRY: Final[tuple[type[Step], ...]] = (
    spatial.Flip,
    spatial.Rotate,
    spatial.Scale,
    spatial.Shear,
    spatial.Translate,
    spatial.Elastic,
)
_DETAIL: Final[tuple[type[Step], ...]] = (filters.Blur, filters.Sharpen, filters.LowResolution)
_GREY: Final[tuple[type[Step], ...]] = (grey.Gamma, grey.Brightness, grey.Contrast, grey.HistogramWarp)
PRESETS: Final[dict[str, tuple[type[Step], ...]]] = {
    "general": (*_GEOMETRY, *_GREY, *_DETAIL, grey.GaussianNoise),
    # a bent or stretched grey scale is no Hounsfield scale any more
    "ct": (*_GEOMETRY, *_DETAIL, ct.WindowJitter, ct.LowDoseNoise, ct.Streaks),
    "mr": (*_GEOMETRY, *_GREY, *_DETAIL, mr.BiasField, mr.RicianNoise, mr.Ghosting, mr.Spikes, mr.Motion),
    "pet": (*_GEOMETRY, grey.Contrast, *_DETAIL, ct.PoissonNoise),
    "us": (*_GEOMETRY, *_GREY, *_DETAIL, us.Speckle, us.Shadow),
    "xray": (*_GEOMETRY, *_GREY, *_DETAIL, ct.PoissonNoise, grey.GaussianNoise),
}
_OTHERS: Final[tuple[type[Step], ...]] = (
    spatial.Permute,
    spatial.Perspective,
    spatial.Crop,
    grey.Invert,
    grey.MultiplicativeNoise,
)
STEPS: Final[dict[str, type[Step]]] = {
    step.model_fields["kind"].default: step
    for step in dict.fromkeys((*(one for preset in PRESETS.values() for one in preset), *_OTHERS))
}
_MODALITIES: Final = {
    "CT": "ct",
    "MR": "mr",
    "PT": "pet",
    "US": "us",
    "CR": "xray",
    "DX": "xray",
    "MG": "xray",
}


def step_kind(name: str) -> type[Step]:
    """The step of that name.

    Raises:
        ConfigError: If there is none; the line lists those there are.
    """
    if name not in STEPS:
        close = difflib.get_close_matches(name, STEPS, n=1)
        hint = f"did you mean {close[0]}?" if close else ""
        raise ConfigError(
            f"no step is called {name!r}", where="transforms", expected=", ".join(STEPS), hint=hint
        )
    return STEPS[name]


def preset_steps(preset: Preset, unit: Unit, modality: str) -> tuple[type[Step], ...]:
    """The steps that suit an image; ``auto`` goes by its DICOM modality, then by its unit."""
    if preset != "auto":
        return PRESETS[preset]
    by_unit = {Unit.HU: "ct", Unit.SUV: "pet", Unit.ARBITRARY: "general"}
    return PRESETS[_MODALITIES.get(modality, by_unit[unit])]


def chosen_steps(only: tuple[str, ...], preset: Preset, unit: Unit, modality: str) -> tuple[type[Step], ...]:
    """The steps that are named, else those that suit the image.

    Raises:
        ConfigError: If a name is unknown.
    """
    return tuple(step_kind(name) for name in only) or preset_steps(preset, unit, modality)


def read_record(steps: Iterable[Mapping[str, object]]) -> tuple[Step, ...]:
    """The steps of a record as it stands in JSON, ready to be replayed.

    Raises:
        ConfigError: If a step is unknown or a parameter out of range.
    """
    found = []
    for raw in steps:
        kind = step_kind(str(raw.get("kind")))
        try:
            found.append(kind.model_validate(raw))
        except ValidationError as error:
            raise ConfigError(explain(error, kind), where=f"record: {raw.get('kind')}") from error
    return tuple(found)
