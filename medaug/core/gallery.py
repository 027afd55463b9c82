"""Tiles: small slices through lesions, kept in run folders so that the report can show them.

A tile shows a patient (or a synthetic case made from one): it stays on the user's own machine.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np
from jaxtyping import UInt8

from medaug.core.case import Case
from medaug.core.errors import UnreadableError
from medaug.core.geometry import Box
from medaug.core.storage import atomic_path
from medaug.core.volume import Mask

GALLERY = "gallery.npz"
TileKind = Literal["test", "real", "synthetic"]
Picture = UInt8[np.ndarray, "rows columns"]
_INDEX = "index"


@final
@dataclass(frozen=True, slots=True)
class TileFacts:
    """What a tile shows; pseudonyms only.

    Attributes:
        kind: A scored test case, a real training lesion, or a synthetic one.
        arm: The arm that predicted or drew it; empty for real training lesions.
        case_id: The case.
        class_name: The class of the lesion in the middle.
        n_annotated: The training subset; None = all.
        dice: Of a test case; None elsewhere.
    """

    kind: TileKind
    arm: str
    case_id: str
    class_name: str
    n_annotated: int | None = None
    dice: float | None = None


@final
@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A slice through a lesion, as radiologists look at it: anterior on top, the patient's right on the left.

    Attributes:
        facts: What it shows.
        image: Grey values 0..255.
        reference: 1 where the reference (or the drawn lesion) is.
        prediction: 1 where the prediction is; all 0 where there is none.
    """

    facts: TileFacts
    image: Picture
    reference: Picture
    prediction: Picture


def cut_tile(case: Case, facts: TileFacts, reference: Mask, prediction: Mask | None = None) -> Tile:
    """The axial slice where the reference is largest, around it, at most 160 voxels a side.

    Raises:
        GeometryError: If the reference is empty.
    """
    k = int(np.argmax(reference.sum(axis=(0, 1))))
    flat = reference[:, :, k : k + 1]
    around = Box.around(flat)
    centre = tuple((a + b) // 2 for a, b in zip(around.start, around.stop, strict=True))
    side = int(np.clip(4 * max(around.shape[:2]), 48, 160))
    side_i, side_j = min(side, flat.shape[0]), min(side, flat.shape[1])
    start = [
        int(np.clip(c - s // 2, 0, n - s))
        for c, s, n in zip(centre, (side_i, side_j), flat.shape, strict=False)
    ]
    window = (slice(start[0], start[0] + side_i), slice(start[1], start[1] + side_j), k)
    image = _grey(case.volume.image[0][window])
    shown = np.zeros_like(reference) if prediction is None else prediction
    return Tile(facts, _upright(image), _upright(reference[window]), _upright(shown[window]))


def _grey(values: np.ndarray) -> Picture:
    """Stretch the 1st to 99.5th percentile of a slice over 0..255."""
    low, high = (float(v) for v in np.percentile(values, (1.0, 99.5)))
    return np.asarray(np.clip((values - low) / max(high - low, 1e-6), 0, 1) * 255, dtype=np.uint8)


def _upright(plane: np.ndarray) -> Picture:
    """RAS (i, j) to rows and columns of a picture in radiological convention."""
    return np.ascontiguousarray(plane[::-1, ::-1].T.astype(np.uint8))


def write_tiles(path: Path, tiles: Sequence[Tile]) -> None:
    """Write tiles into one compressed npz, atomically."""
    facts = [asdict(tile.facts) for tile in tiles]
    arrays = {_INDEX: np.frombuffer(json.dumps(facts).encode("utf-8"), dtype=np.uint8)}
    for number, tile in enumerate(tiles):
        arrays[f"image_{number}"] = tile.image
        arrays[f"marks_{number}"] = np.asarray(tile.reference + 2 * tile.prediction, dtype=np.uint8)
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.savez_compressed(handle, allow_pickle=False, **arrays)


def read_tiles(path: Path) -> tuple[Tile, ...]:
    """Read tiles.

    Raises:
        UnreadableError: If the file is missing, damaged, or no gallery.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            facts = json.loads(stored[_INDEX].tobytes().decode("utf-8"))
            return tuple(_tile(stored, number, TileFacts(**fact)) for number, fact in enumerate(facts))
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UnreadableError(
            f"{path.name} in {path.parent.name} cannot be read", hint="run the experiment again"
        ) from error


def _tile(stored: np.lib.npyio.NpzFile, number: int, facts: TileFacts) -> Tile:
    marks = stored[f"marks_{number}"]
    return Tile(
        facts,
        stored[f"image_{number}"],
        np.asarray(marks & 1, dtype=np.uint8),
        np.asarray(marks >> 1, dtype=np.uint8),
    )
