"""``dataset.json`` of nnU-Net v2 and of the Decathlon: channels, classes, and how many cases there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from medaug.core.config import read_json
from medaug.core.errors import DataError, LabelError
from medaug.core.findings import Code
from medaug.core.wording import counted
from medaug.ingest.sources import ClassId, SourceCase, Stray

_MR_WORDS = ("MR", "FLAIR", "T1", "T2", "PD", "DWI", "ADC", "SWI")


@final
@dataclass(frozen=True, slots=True)
class Description:
    """What ``dataset.json`` says.

    Attributes:
        channels: Their names, in order.
        classes: Label ids and names.
        licence: None where it names none.
        has_frames: The form is the Decathlon's: several channels are the fourth axis of one file.
        n_training: How many cases have a label.
    """

    channels: tuple[str, ...]
    classes: tuple[ClassId, ...]
    licence: str | None
    has_frames: bool = False
    n_training: int | None = None

    @property
    def modality(self) -> str | None:
        """The modality the channel names speak of."""
        return modality_of(self.channels)


def modality_of(channels: Sequence[str]) -> str | None:
    """CT or MR where channel names say so (``CT``, ``FLAIR``, ``T1w``, ...), else None."""
    upper = [name.upper() for name in channels if name]
    if upper and all(name in ("CT", "CTA", "CECT") for name in upper):
        return "CT"
    if upper and all(name.startswith(_MR_WORDS) for name in upper):
        return "MR"
    return None


def describe(path: Path) -> Description:
    """Read ``dataset.json``.

    Raises:
        DataError: If it is damaged, or names no labels.
        LabelError: If it declares regions or an ignore label, which a label map of classes cannot hold.
    """
    raw = read_json(path)
    if not isinstance(raw, dict) or not isinstance(raw.get("labels"), dict):
        raise DataError(f"{path.name} names no labels", expected="dataset.json of nnU-Net or the Decathlon")
    names = _channel_names(raw.get("channel_names", raw.get("modality", {"0": "image"})))
    licence = raw.get("licence", raw.get("license"))
    training = raw.get("numTraining")
    return Description(
        tuple(_decathlon_name(name) for name in names),
        _label_table(raw["labels"].items()),
        str(licence) if licence else None,
        has_frames="channel_names" not in raw,
        n_training=training if isinstance(training, int) else None,
    )


def _channel_names(channels: object) -> tuple[str, ...]:
    """The names in the order of their numbers; one image channel where the description has none."""
    if not isinstance(channels, dict):
        return ("image",)
    if not all(str(key).isdecimal() for key in channels):
        raise DataError("dataset.json numbers its channels by no numbers", expected='such as {"0": "CT"}')
    return tuple(str(channels[key]) for key in sorted(channels, key=int))


def _decathlon_name(name: str) -> str:
    return "MR" if name.upper() == "MRI" else name


def _label_table(labels: Iterable[tuple[str, object]]) -> tuple[ClassId, ...]:
    """Both forms: name to id (nnU-Net v2), and id to name (Decathlon)."""
    pairs = []
    for key, value in labels:
        name, number = (str(value), key) if key.isdecimal() else (key, value)
        if name == "ignore" or not str(number).isdecimal():
            raise LabelError(
                "dataset.json declares regions or an ignore label", expected="one whole number a class"
            )
        if int(str(number)) > 0:
            pairs.append(ClassId(int(str(number)), name))
    return tuple(sorted(pairs, key=lambda pair: pair.label_id))


def count_training(description: Description, cases: Sequence[SourceCase]) -> list[Stray]:
    """``description-differs``: another number of labelled cases than ``dataset.json`` says."""
    found = sum(case.label is not None for case in cases)
    if description.n_training in (None, found):
        return []
    message = f"dataset.json speaks of {description.n_training} training cases; {counted(found, 'labelled case')} found"
    return [Stray(Code.DESCRIPTION_DIFFERS, "flagged", message, ())]
