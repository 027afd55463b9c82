"""Writing in pixels: how much of what is drawn into made images is found, and how much else is blanked with it.

    .venv/bin/python scripts/measure_pixel_writing.py               # fonts and sizes that nothing was tuned on
    .venv/bin/python scripts/measure_pixel_writing.py --tuned       # those that the limits were chosen on
    .venv/bin/python scripts/measure_pixel_writing.py --files DIR   # DICOM files: outcome and time

Leaks and utility are told apart: a leak is writing of which more than 2% of the ink stays; what is lost is the share of the image
that is blanked although nothing is written there.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final, Literal, final

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from medaug.core.errors import MedaugError, UnreadableError
from medaug.io.headers import quiet_pydicom
from medaug.privacy._deidentify.burned import check_pixels, clean_pixels
from medaug.privacy._deidentify.risks import burned_in
from medaug.privacy._deidentify.stream import read_stream
from medaug.privacy._deidentify.writing import Box, find_writing

Kind = Literal["black", "speckle", "doppler", "radiograph"]
KINDS: Final[tuple[Kind, ...]] = ("black", "speckle", "doppler", "radiograph")
TUNED: Final = (("default",), (10, 14, 20, 32))
HELD_OUT: Final = (
    ("DejaVuSans", "DejaVuSerif-Italic", "DejaVuSansMono-Bold", "STIXGeneral", "cmtt10"),
    (9, 12, 17, 26, 44),
)
_WORDS: Final = (
    "DOE, JANE",
    "Meier^Karl",
    "ID 4711-0815",
    "12/03/1958",
    "St. Mary Hospital",
    "Dr. Okafor",
    "M 065Y",
)
_COLOURS: Final = {
    "white": (255, 255, 255), "grey": (190, 190, 190), "yellow": (255, 255, 0), "green": (0, 230, 60), "blue": (90, 130, 255),
}  # fmt: skip
_SHAPE = (420, 560)
_INK_LEFT = 0.02
# grey levels by which ink differs from what it stands on, so that it can be seen
_SEEN = 32


@final
@dataclass(frozen=True, slots=True)
class Drawn:
    """An image with one line of writing.

    Attributes:
        image: RGB or grey.
        plain: The same before anything was written.
        ink: Pixels of the writing that can be seen.
        label: What it is, for the table.
    """

    image: np.ndarray
    plain: np.ndarray
    ink: np.ndarray
    label: tuple[str, ...]


def background(kind: Kind, rng: np.random.Generator) -> np.ndarray:
    """A made image without writing, RGB."""
    rows, columns = _SHAPE
    y, x = np.mgrid[:rows, :columns]
    noise = ndimage.gaussian_filter(rng.normal(size=_SHAPE), 30) * 40
    if kind == "radiograph":
        ribs = 18 * np.sin(y / 23 + 0.6 * np.sin(x / 90)) * np.exp(-(((x - 280) / 200) ** 2))
        body = 120 + 70 * np.cos((x - 280) / 150) + 60 * noise + ribs + rng.normal(size=_SHAPE) * 5
        grey = np.clip(body, 0, 255)
    else:
        waves = ndimage.gaussian_filter(rng.normal(size=_SHAPE), 1.3) + 1j * ndimage.gaussian_filter(
            rng.normal(size=_SHAPE), 1.3
        )
        tissue = 90 * np.clip(1 + noise, 0.2, 2) * np.abs(waves) / np.abs(waves).mean()
        sector = np.hypot(y + 40, x - 280) < 440
        sector &= np.abs(x - 280) < 0.75 * (y + 40)
        grey = np.clip(np.where(sector & (kind != "black"), tissue, 0), 0, 235)
    image = np.repeat(grey[..., None], 3, axis=2)
    if kind == "doppler":
        flow = (noise > 0.15) & (np.hypot(y - 220, x - 280) < 110)
        strength = np.clip(120 + 400 * (noise - 0.15), 0, 255)
        image[flow] = np.stack([strength, 0.4 * strength, 0 * strength], axis=-1)[flow]
    return image.astype(np.uint8)


def _font(name: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if name == "default":
        return ImageFont.load_default(size)
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(folder / f"{name}.ttf", size)


def draw(plain: np.ndarray, text: str, font: tuple[str, int], colour: str, place: tuple[int, int]) -> Drawn:
    """A copy of an image with a line of writing at a place (row, column)."""
    ink = Image.new("L", (plain.shape[1], plain.shape[0]))
    ImageDraw.Draw(ink).text((place[1], place[0]), text, fill=255, font=_font(*font))
    alpha = np.asarray(ink, dtype=np.float32)[..., None] / 255
    image = plain * (1 - alpha) + np.array(_COLOURS[colour], dtype=np.float32) * alpha
    written = np.rint(image).astype(np.uint8)
    grey = bool((written.max(axis=2) == written.min(axis=2)).all())
    shown, before = (written[..., 0], plain[..., 0]) if grey else (written, plain)
    contrast = np.abs(written.astype(np.int16) - plain).max(axis=2)
    return Drawn(shown, before, (alpha[..., 0] >= 0.5) & (contrast >= _SEEN), (font[0], str(font[1]), colour))


def cases(
    drawn_with: tuple[tuple[str, ...], tuple[int, ...]], seed: int, most: int
) -> Iterator[tuple[Kind, Drawn]]:
    """Made images: kinds, fonts, sizes, colours, words and places by chance."""
    rng = np.random.default_rng(seed)
    every = list(product(KINDS, *drawn_with, _COLOURS))
    for at in rng.permutation(len(every))[:most]:
        kind, name, size, colour = every[at]
        text = str(rng.choice(_WORDS))
        place = (
            int(rng.integers(0, _SHAPE[0] - 2 * size)),
            int(rng.integers(0, max(1, _SHAPE[1] - 12 * size))),
        )
        yield kind, draw(background(kind, rng), text, (name, size), colour, place)


def covered(boxes: tuple[Box, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Pixels within boxes."""
    mask = np.zeros(shape[:2], dtype=bool)
    for box in boxes:
        mask[box.top : box.bottom, box.left : box.right] = True
    return mask


def look_at(folder: Path) -> int:
    """Print what becomes of the pixels of each kind of file in a folder."""
    counts: dict[tuple[str, str], list[float]] = defaultdict(list)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            stream = read_stream(path.read_bytes())
        except UnreadableError:
            continue
        suspected = bool(burned_in(stream))
        begun = time.process_time()
        try:
            with quiet_pydicom():
                looked = (clean_pixels if suspected else check_pixels)(stream)
            outcome = "passes" if looked.boxes is None else f"cleaned, {looked.boxes} boxes"
        except MedaugError as error:
            outcome = f"held back: {error.code}"
        counts["written upon" if suspected else "plain", outcome].append(time.process_time() - begun)
    print(f"{'kind':14} {'outcome':44} {'files':>6} {'ms/file':>9}")
    for (kind, outcome), taken in sorted(counts.items()):
        print(f"{kind:14} {outcome:44} {len(taken):6} {1000 * float(np.mean(taken)):9.2f}")
    return 0


def main() -> int:
    """Draw, search, and print a table a kind."""
    options = ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--tuned", action="store_true", help="fonts and sizes that limits were chosen on")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--images", type=int, default=500)
    options.add_argument("--missed", action="store_true", help="name what was not found")
    options.add_argument("--files", type=Path, help="folder of DICOM files, instead of made images")
    said = options.parse_args()
    if said.files is not None:
        return look_at(said.files)
    rows: dict[str, list[tuple[bool, float, float]]] = defaultdict(list)
    for kind, drawn in cases(TUNED if said.tuned else HELD_OUT, said.seed, said.images):
        begun = time.process_time()
        mask = covered(find_writing(drawn.image), drawn.image.shape)
        taken = time.process_time() - begun
        left = float((drawn.ink & ~mask).sum() / max(drawn.ink.sum(), 1))
        near = ndimage.binary_dilation(drawn.ink, iterations=int(drawn.label[1]))
        rows[kind].append((left > _INK_LEFT, float((mask & ~near).mean()), taken))
        if said.missed and left > _INK_LEFT:
            print(kind, *drawn.label, f"{left:.0%} left")
    print(f"{'kind':12} {'written':>8} {'leaks':>6} {'lost':>7} {'s/image':>8}")
    for name, found in rows.items():
        leaks = sum(one[0] for one in found)
        lost, seconds = (float(np.mean([one[at] for one in found])) for at in (1, 2))
        print(f"{name:12} {len(found):8} {leaks:6} {lost:7.2%} {seconds:8.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
