"""A contact sheet of a bank: crops of each class from small to large, the lesion outlined. It shows patients: private."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from medaug.core.lesion import LesionCrop, LesionEntry
from medaug.core.storage import atomic_path
from medaug.core.volume import Unit
from medaug.core.wording import counted
from medaug.io.thumbnails import draw_thumb
from medaug.lesions.bank import Bank

COLUMNS: Final = 10
_SIDE, _ROWS = 96, 3
_DPI, _HEAD_PIXELS = 100, 24
_LUNG_HU, _SOFT_HU = (-1350.0, 150.0), (-160.0, 240.0)
_LUNG_TISSUE_HU = -500.0


def write_sheet(bank: Bank, path: Path) -> None:
    """Draw up to 30 lesions of each class, evenly spread over its sizes, into a PNG that only its owner may read.

    Every crop is seen from the feet, the patient's right on its left, in the slice that shows most of the lesion, first
    channel.

    Raises:
        UnreadableError: If a crop is damaged.
        StorageError: If the picture cannot be written.
    """
    strips = []
    for name in bank.classes:
        entries = sorted(bank.entries(name), key=lambda entry: entry.diameter_mm)
        if entries:
            strips.append((_title(name, entries), _strip(bank, _spread(entries))))
    height = sum(_HEAD_PIXELS + strip.shape[0] for _, strip in strips)
    figure = Figure(figsize=(COLUMNS * _SIDE / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    top = height
    for title, strip in strips:
        middle = (top - _HEAD_PIXELS / 2) / height
        figure.text(0.005, middle, title, fontsize=8, va="center", weight="bold", parse_math=False)
        top -= _HEAD_PIXELS + strip.shape[0]
        figure.figimage(strip, xo=0, yo=top, origin="upper")
    with atomic_path(path, mode=0o600) as temporary:
        figure.savefig(temporary, format="png")


def _title(name: str, entries: list[LesionEntry]) -> str:
    unit = "voxels" if entries[0].spacing == "nominal" else "mm"
    sizes = f"{entries[0].diameter_mm:.1f} to {entries[-1].diameter_mm:.1f} {unit}"
    return f"{name}: {counted(len(entries), 'lesion')}, {sizes}".encode("ascii", "replace").decode()


def _spread(entries: list[LesionEntry]) -> list[LesionEntry]:
    wanted = min(len(entries), COLUMNS * _ROWS)
    return [entries[n] for n in np.linspace(0, len(entries) - 1, wanted).round().astype(int).tolist()]


def _strip(bank: Bank, entries: list[LesionEntry]) -> UInt8[np.ndarray, "rows columns 3"]:
    tiles = [_tile(bank.crop(entry.lesion_id), bank.index.scheme.unit) for entry in entries]
    tiles += [np.full((_SIDE, _SIDE, 3), 255, np.uint8)] * (-len(tiles) % COLUMNS)
    rows = [np.concatenate(tiles[n : n + COLUMNS], axis=1) for n in range(0, len(tiles), COLUMNS)]
    return np.concatenate(rows)


def _tile(crop: LesionCrop, unit: Unit) -> UInt8[np.ndarray, "rows columns 3"]:
    k = int(np.argmax(crop.mask.sum(axis=(0, 1))))
    plane = crop.image[0, :, :, k]
    low, high = _window(crop, plane, unit)
    grey = np.clip((plane - low) / max(high - low, 1e-6), 0, 1)
    spacing = crop.entry.spacing_mm
    return draw_thumb(grey, crop.mask[:, :, k].astype(np.uint8), spacing[0], spacing[1], _SIDE)


def _window(crop: LesionCrop, plane: np.ndarray, unit: Unit) -> tuple[float, float]:
    """Values shown black and white."""
    if unit is not Unit.HU:
        low, high = (float(v) for v in np.percentile(plane, (0.5, 99.5)))
        return low, high
    around = crop.entry.ring_median[0] * crop.scale.factor[0] + crop.scale.offset[0]
    return _LUNG_HU if around < _LUNG_TISSUE_HU else _SOFT_HU
