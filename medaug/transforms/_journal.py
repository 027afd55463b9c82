"""What was drawn for every training patch, line by line in a file, and a patch made again from its line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np
from pydantic import Field, ValidationError

from medaug.core.config import Frozen, explain
from medaug.core.errors import ConfigError, DataError
from medaug.core.storage import storage_error
from medaug.engine.augment import BatchAugment, PatchBatch
from medaug.engine.warp import Resampling
from medaug.transforms._mixing import MixAugment, MixConfig, Mixing
from medaug.transforms._steps.apply import Record, apply_records
from medaug.transforms._steps.policy import PolicyAugment
from medaug.transforms._steps.registry import read_record
from medaug.transforms.base import parse_transforms


@final
class Drawn(Frozen):
    """A line of ``augmentations.jsonl``: all that was drawn for one patch, free of identifiers."""

    step: int = Field(ge=0, description="of the training")
    place: int = Field(ge=0, description="of the patch in its batch")
    how: Resampling
    record: tuple[dict[str, object], ...] = Field(description="steps with their parameters")
    mix: dict[str, object] | None = Field(
        default=None, description="settings of the mixing, where there is one"
    )
    mixing: Mixing | None = Field(default=None, description="what the patch took of which other")


@final
class Journal:
    """An augmentation that writes down what it draws.

    The lines of a step that is done again after an interruption follow those of the first time and equal them.

    Args:
        augment: What is carried out.
        path: The file, ``augmentations.jsonl``; lines are added.

    Raises:
        ConfigError: If the augmentation is none of this project and cannot tell what it draws.
    """

    def __init__(self, augment: BatchAugment, path: Path) -> None:
        if not isinstance(augment, PolicyAugment | MixAugment):
            raise ConfigError(
                "this augmentation keeps no records", where="record_augmentations", expected="false"
            )
        self._augment, self._path = augment, path
        _drop_broken_end(path)

    def __call__(self, batch: PatchBatch, rngs: Sequence[np.random.Generator]) -> PatchBatch:
        """Change a batch; see :class:`~medaug.engine.augment.BatchAugment`."""
        augment = self._augment
        if isinstance(augment, PolicyAugment):
            records = augment.draw(batch, rngs)
            self._write(batch, records, (None,) * len(rngs))
            return apply_records(batch, records, augment.how)
        records, mixings = augment.draw(batch, rngs)
        self._write(batch, records, mixings)
        return augment.follow(batch, records, mixings)

    def _write(self, batch: PatchBatch, records: Sequence[Record], mixings: Sequence[Mixing | None]) -> None:
        base = self._augment.base if isinstance(self._augment, MixAugment) else self._augment
        mix = self._augment.config.model_dump(mode="json") if isinstance(self._augment, MixAugment) else None
        lines = [
            Drawn(
                step=batch.step or 0,
                place=place,
                how=base.how,
                record=tuple(step.model_dump(mode="json") for step in record),
                mix=mix,
                mixing=mixing,
            ).model_dump_json(exclude_none=True)
            for place, (record, mixing) in enumerate(zip(records, mixings, strict=True))
        ]
        try:
            with self._path.open("a", encoding="utf-8") as handle:
                handle.write("\n".join(lines) + "\n")
        except OSError as error:
            raise storage_error(error, self._path) from error


def _drop_broken_end(path: Path) -> None:
    """Cut off the half line that a killed training left."""
    if not path.is_file():
        return
    with path.open("rb+") as handle:
        content = handle.read()
        handle.truncate(content.rfind(b"\n") + 1)


def read_drawn(path: Path) -> dict[tuple[int, int], Drawn]:
    """The lines of ``augmentations.jsonl`` by step and place.

    Raises:
        DataError: If the file is missing, or a line cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path.name} cannot be read", hint="train with record_augmentations: true"
        ) from error
    found = {}
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            drawn = Drawn.model_validate(json.loads(line))
        except ValidationError as error:
            raise DataError(f"{path.name}: line {number}: {explain(error, Drawn)}") from error
        except ValueError as error:
            raise DataError(f"{path.name}: line {number} is not valid JSON") from error
        found[drawn.step, drawn.place] = drawn
    return found


def replay(batch: PatchBatch, drawn: Sequence[Drawn]) -> PatchBatch:
    """Make patches again from their lines: bit for bit on one device, whatever the settings are today.

    Args:
        batch: The patches as they were cut, in the order of the lines. A single patch will do where nothing was mixed; where
            it was, the whole batch.
        drawn: One line a patch.

    Returns:
        The patches as they were trained on.

    Raises:
        ConfigError: If lines and patches do not fit, or a line names a step there is no more.
    """
    if len(drawn) != len(batch.images):
        raise ConfigError(f"{len(drawn)} lines for {len(batch.images)} patches", expected="one a patch")
    if len({(line.how, json.dumps(line.mix)) for line in drawn}) > 1:
        raise ConfigError("lines of different augmentations", expected="lines of one step")
    records = [read_record(line.record) for line in drawn]
    changed = apply_records(batch, records, drawn[0].how)
    mixings = [line.mixing for line in drawn]
    if not any(mixings) or drawn[0].mix is None:
        return changed
    if any(one is not None and one.partner >= len(drawn) for one in mixings):
        raise ConfigError("a patch was mixed with one that is not here", expected="all patches of the step")
    config = parse_transforms(drawn[0].mix)
    if not isinstance(config, MixConfig):
        raise ConfigError(f"{config.kind} mixes nothing", where="mix")
    return config.mix(changed, mixings)
