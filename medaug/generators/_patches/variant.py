"""The variant of a configuration that can be trained with differential privacy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, TypeGuard, final

from pydantic import Field

from medaug.core.budget import PrivacyRequest

Privacy = Annotated[
    PrivacyRequest | None,
    Field(
        exclude_if=lambda value: value is None,  # the hashes of all that was trained without it hold
        description="differential privacy; chooses the variant that keeps it",
    ),
]


@final
@dataclass(frozen=True, slots=True)
class PrivateVariant:
    """What a private training needs, and what suits it.

    Attributes:
        needed: For each key its only valid value, and why another breaks the promise.
        suited: Values of keys that nobody set.
    """

    needed: Mapping[str, tuple[object, str]]
    suited: Mapping[str, object]

    def chosen(self, raw: Mapping[str, object]) -> dict[str, object]:
        """The keys of a configuration, those that nobody set filled in.

        Raises:
            ValueError: If one that was set breaks the promise; in words for the configuration's author.
        """
        for key, (value, reason) in self.needed.items():
            if raw.get(key, value) != value:
                raise ValueError(f"dp: {key} is {raw[key]!r} and must be {value!r}: {reason}")
        needed = {key: value for key, (value, _) in self.needed.items()}
        return {**self.suited, **raw, **needed}


def asks_privacy(raw: object) -> TypeGuard[dict[str, object]]:
    """Whether the raw keys of a configuration ask for differential privacy."""
    return isinstance(raw, dict) and raw.get("dp") is not None
