"""Writing in pixels is blanked and nothing else, in every way in which pixels are stored; what is not sure is held back."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

from medaug.core.errors import IdentifierError, UnreadableError
from medaug.privacy._deidentify.burned import Looked, check_pixels, clean_pixels
from medaug.privacy._deidentify.stream import Stream, read_stream, write_elements, write_meta
from medaug.privacy.deidentify import Deidentifier, Option, Profile, Secret
from scripts.measure_pixel_writing import background, draw
from tests.unit.privacy.canaries import base

RNG = np.random.default_rng(5)


def tissue(seed: int = 3) -> np.ndarray:
    """Part of a made radiograph on which white can be seen."""
    return background("radiograph", np.random.default_rng(seed))[100:340, 150:430] // 2


DRAWN = draw(tissue(), "DOE, JANE 4711", ("DejaVuSans", 18), "white", (100, 40))
COLOUR = draw(tissue(), "DOE, JANE", ("DejaVuSans", 18), "yellow", (100, 40))
GREY = DRAWN.image


def file_of(pixels: np.ndarray, syntax: str = ExplicitVRLittleEndian) -> FileDataset:
    """An ultrasound image of these values: (rows, columns), with frames before and colours behind."""
    dataset = base(UID(syntax))
    dataset.Modality, dataset.ImageType = "US", ["ORIGINAL", "PRIMARY"]
    colours = pixels.shape[-1] == 3
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = (3, "RGB") if colours else (1, "MONOCHROME2")
    if colours:
        dataset.PlanarConfiguration = 0
    frames = pixels if pixels.ndim == 3 + colours else pixels[None]
    if len(frames) > 1:
        dataset.NumberOfFrames = len(frames)
    dataset.Rows, dataset.Columns = frames.shape[1:3]
    bits = 8 * pixels.dtype.itemsize
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, int(pixels.dtype.kind == "i")
    stored = pixels.astype(pixels.dtype.newbyteorder(">")) if syntax == ExplicitVRBigEndian else pixels
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OB" if bits == 8 and syntax != ImplicitVRLittleEndian else "OW"
    return dataset


def stream_of(dataset: FileDataset) -> Stream:
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return read_stream(out.getvalue())


def parsed(stream: Stream) -> Dataset:
    meta = [element for element in stream.meta if element.tag not in (0x00020000, 0x00020010)]
    meta = [type(element)(0x00020010, "UI", stream.syntax.uid.encode()) for element in meta[:1]]
    return pydicom.dcmread(io.BytesIO(write_meta(meta) + write_elements(stream.elements, stream.syntax)))


def cleaned(dataset: FileDataset) -> tuple[Dataset, Looked]:
    looked = clean_pixels(stream_of(dataset))
    return parsed(looked.stream), looked


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Pixels of any frame that differ."""
    differs = before != after
    if before.ndim == 4 or before.shape[-1] == 3:
        differs = differs.any(axis=-1)
    return np.asarray(differs.any(axis=0) if differs.ndim == 3 else differs)


def near(ink: np.ndarray) -> np.ndarray:
    """All that may be blanked: the box of the ink, and a margin."""
    rows, columns = np.nonzero(ink)
    mask = np.zeros(ink.shape, dtype=bool)
    mask[rows.min() - 8 : rows.max() + 9, columns.min() - 16 : columns.max() + 17] = True
    return mask


def require_only_ink_is_gone(before: np.ndarray, after: np.ndarray, ink: np.ndarray) -> None:
    mask = changed(before, after)
    assert (mask & ink).sum() >= 0.98 * ink.sum()
    assert not (mask & ~near(ink)).any()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("kind", ["<u2", "<i2"])
def test_only_the_writing_is_blanked_in_every_syntax(syntax: str, kind: str) -> None:
    values = GREY.astype(kind) * 100 - (1000 if "i" in kind else 0)
    after, looked = cleaned(file_of(values, syntax))
    require_only_ink_is_gone(values, after.pixel_array, DRAWN.ink)
    assert looked.boxes == 1
    assert looked.stream.syntax.uid == syntax
    assert after.BurnedInAnnotation == "NO"
    assert after.ImageType == ["DERIVED", "PRIMARY"]


@pytest.mark.parametrize("planar", [0, 1])
def test_colours_are_blanked_however_they_lie(planar: int) -> None:
    dataset = file_of(COLOUR.image)
    dataset.PlanarConfiguration = planar
    dataset.PixelData = (COLOUR.image.transpose(2, 0, 1) if planar else COLOUR.image).tobytes()
    after, _ = cleaned(dataset)
    assert after.PlanarConfiguration == planar
    require_only_ink_is_gone(COLOUR.image, after.pixel_array, COLOUR.ink)


def test_a_lossy_stream_becomes_a_lossless_one_of_the_same_pixels() -> None:
    dataset = file_of(COLOUR.image, JPEGBaseline8Bit)
    packed = io.BytesIO()
    Image.fromarray(COLOUR.image).save(packed, "JPEG", quality=90)
    dataset.PixelData = encapsulate([packed.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    before = parsed(stream_of(dataset)).pixel_array
    after, _ = cleaned(dataset)
    assert after.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert after.LossyImageCompression == "01"
    assert after.PhotometricInterpretation == "YBR_FULL"
    require_only_ink_is_gone(before, after.pixel_array, COLOUR.ink)


def test_lossless_streams_are_cleaned_and_offsets_go() -> None:
    dataset = file_of(np.stack([GREY, GREY]))
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = bytes(16), bytes(16)
    after, _ = cleaned(dataset)
    assert "ExtendedOffsetTable" not in after
    assert "LossyImageCompression" not in after
    require_only_ink_is_gone(np.stack([GREY, GREY]), after.pixel_array, DRAWN.ink)


def test_a_stream_without_writing_stays_as_it_is() -> None:
    dataset = file_of(DRAWN.plain)
    dataset.compress(RLELossless, generate_instance_uid=False)
    after, looked = cleaned(dataset)
    assert looked.boxes == 0
    assert after.PixelData == dataset.PixelData
    assert after.BurnedInAnnotation == "NO"
    assert after.ImageType == ["ORIGINAL", "PRIMARY"]


def test_white_is_zero_in_monochrome1_and_is_blanked_black() -> None:
    dataset = file_of(255 - GREY)
    dataset.PhotometricInterpretation = "MONOCHROME1"
    after, _ = cleaned(dataset)
    require_only_ink_is_gone(255 - GREY, after.pixel_array, DRAWN.ink)
    assert (after.pixel_array[changed(255 - GREY, after.pixel_array)] == 255).all()


def test_palettes_are_looked_through() -> None:
    dataset = file_of((255 - GREY) // 2)
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    table = (65535 - np.minimum(np.arange(256) * 514, 65535)).astype("<u2").tobytes()
    for colour in ("Red", "Green", "Blue"):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", table)
    after, _ = cleaned(dataset)
    require_only_ink_is_gone((255 - GREY) // 2, after.pixel_array, DRAWN.ink)


def test_writing_of_any_frame_goes_from_all() -> None:
    frames = np.stack([tissue(n)[..., 0] for n in range(9)])
    frames[4] = np.where(DRAWN.ink, 255, frames[4])
    after, _ = cleaned(file_of(frames))
    require_only_ink_is_gone(np.where(DRAWN.ink, 300, frames), after.pixel_array, DRAWN.ink)


def _region(left: int, top: int, right: int, bottom: int) -> Dataset:
    region = Dataset()
    region.RegionLocationMinX0, region.RegionLocationMinY0 = left, top
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = right, bottom
    return region


def test_what_lies_outside_the_regions_is_blanked() -> None:
    image = DRAWN.plain.copy()
    image[:30] = 0
    image[5:15, 5:60] = 200
    dataset = file_of(image)
    dataset.SequenceOfUltrasoundRegions = Sequence([_region(0, 30, 279, 239)])
    after, looked = cleaned(dataset)
    assert not after.pixel_array[:30].any()
    assert np.array_equal(after.pixel_array[30:], image[30:])
    assert looked.boxes == 1


def test_writing_within_a_region_stays_is_told_and_goes_where_a_reader_looks() -> None:
    dataset = file_of(GREY)
    dataset.SequenceOfUltrasoundRegions = Sequence([_region(0, 0, 279, 219)])
    after, looked = cleaned(dataset)
    assert np.array_equal(after.pixel_array[:220], GREY[:220])
    assert looked.spared >= 1
    read = clean_pixels(stream_of(dataset), lambda _: ())
    assert read.boxes
    assert not read.spared


@pytest.mark.parametrize("region", [(0, 230, 279, 239), (0, 30, 500, 239), (10, 30, 5, 239), (0, 0, 60, 110)])
def test_regions_that_cannot_be_are_not_believed(region: tuple[int, int, int, int]) -> None:
    dataset = file_of(DRAWN.plain)
    dataset.SequenceOfUltrasoundRegions = Sequence([_region(*region)])
    after, looked = cleaned(dataset)
    assert looked.boxes == 0
    assert np.array_equal(after.pixel_array, DRAWN.plain)


def test_more_boxes_can_come_from_a_reader() -> None:
    from medaug.privacy._deidentify.writing import Box

    looked = clean_pixels(stream_of(file_of(DRAWN.plain)), lambda image: (Box(200, 10, 210, 30),))
    assert looked.boxes == 1
    assert not parsed(looked.stream).pixel_array[200:210, 10:30].any()


def _page() -> np.ndarray:
    page = np.zeros((240, 280), np.uint8)
    for row in range(4, 220, 22):
        line = draw(
            np.zeros((240, 280, 3), np.uint8),
            "Report of Jane Doe, a page",
            ("DejaVuSans", 17),
            "white",
            (row, 4),
        )
        page = np.maximum(page, line.image)
    return page


def _held(dataset: FileDataset) -> str:
    with pytest.raises(IdentifierError) as caught:
        clean_pixels(stream_of(dataset))
    return caught.value.code


def test_what_is_not_sure_is_held_back() -> None:
    assert _held(file_of(_page())) == "writing-all-over"
    admitted = file_of(DRAWN.plain)
    admitted.BurnedInAnnotation = "YES"
    assert _held(admitted) == "writing-not-found"


def test_pixels_that_are_not_understood_are_held_back() -> None:
    odd = file_of(DRAWN.plain)
    odd.PhotometricInterpretation = "CMYK"
    assert _held(odd) == "pixels-not-decoded"
    half = file_of(COLOUR.image)
    half.PhotometricInterpretation = "YBR_FULL_422"
    assert _held(half) == "pixels-not-decoded"
    huge = file_of(DRAWN.plain)
    huge.NumberOfFrames = 10**9
    assert _held(huge) == "pixels-not-decoded"
    none = file_of(DRAWN.plain)
    del none.PixelData
    none.FloatPixelData = bytes(16)
    assert _held(none) == "pixels-not-decoded"


def test_a_stream_of_another_size_is_held_back_before_it_is_decoded() -> None:
    dataset = file_of(GREY, JPEGBaseline8Bit)
    packed = io.BytesIO()
    Image.fromarray(GREY[:100]).save(packed, "JPEG")
    dataset.PixelData = encapsulate([packed.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    assert _held(dataset) == "pixels-not-decoded"


def test_pixels_that_are_cut_short_are_refused() -> None:
    dataset = file_of(GREY)
    dataset.PixelData = dataset.PixelData[:-100]
    with pytest.raises(UnreadableError):
        clean_pixels(stream_of(dataset))


def _slice(*, text: str = "", brightness: int = 4095) -> FileDataset:
    """A CT slice of a round body, with writing."""
    y, x = np.mgrid[:256, :256]
    body = np.where(np.hypot(y - 128, x - 128) < 100, 1040, 24) + RNG.normal(0, 12, (256, 256))
    body[100:130, 100:110] = 1800
    drawn = draw(np.zeros((256, 256, 3), np.uint8), text, ("DejaVuSans", 14), "white", (20, 10))
    values = np.where(drawn.image > 128, brightness, np.maximum(body, 0)).astype(np.uint16)
    dataset = file_of(values)
    dataset.Modality, dataset.BitsStored, dataset.HighBit = "CT", 12, 11
    return dataset


def test_writing_drawn_into_a_slice_is_suspected() -> None:
    with pytest.raises(IdentifierError) as caught:
        check_pixels(stream_of(_slice(text="DOE JANE 4711")))
    assert caught.value.code == "burned-in-text-suspected"


def test_plain_slices_pass_as_they_are() -> None:
    stream = stream_of(_slice())
    looked = check_pixels(stream)
    assert looked.boxes is None
    assert looked.stream == stream


@pytest.mark.parametrize("kind", ["<u2", "<i2"])
def test_bits_that_no_value_uses_are_cleared(kind: str) -> None:
    dataset = _slice()
    values = dataset.pixel_array.astype(np.int32) - (1000 if kind == "<i2" else 0)
    hidden = (values & 0xFFF) | np.where(np.arange(256) % 2, 0x5000, 0)
    dataset.PixelData = hidden.astype("<u2").tobytes()
    dataset.PixelRepresentation = int(kind == "<i2")
    looked = check_pixels(stream_of(dataset))
    assert np.array_equal(parsed(looked.stream).pixel_array, values)


def test_padding_that_does_not_fit_stays() -> None:
    dataset = _slice()
    values = dataset.pixel_array.copy()
    values[:20] = 63536
    dataset.PixelData = values.tobytes()
    dataset.add_new(0x00280120, "US", 63536)
    stream = stream_of(dataset)
    assert check_pixels(stream).stream == stream


def test_label_maps_and_doses_are_no_pictures() -> None:
    dataset = _slice(text="DOE JANE 4711")
    dataset.Modality = "SEG"
    assert check_pixels(stream_of(dataset)).boxes is None


def _released(content: bytes) -> tuple[Dataset, int | None]:
    deidentifier = Deidentifier(
        Secret.of(b"a secret for tests, thirty-two bytes"), Profile(frozenset({Option.PIXELS}))
    )
    result = deidentifier.clean(content, deidentifier.look(content).identifiers)
    assert deidentifier.clean(result.content, deidentifier.look(result.content).identifiers).outcome == "own"
    return pydicom.dcmread(io.BytesIO(result.content)), result.boxes


def test_a_cleaned_file_states_what_was_done() -> None:
    out = io.BytesIO()
    file_of(GREY).save_as(out, enforce_file_format=True)
    after, boxes = _released(out.getvalue())
    assert boxes == 1
    assert [item.CodeValue for item in after.DeidentificationMethodCodeSequence] == ["113100", "113101"]
    require_only_ink_is_gone(GREY, after.pixel_array, DRAWN.ink)


@pytest.mark.skipif("MEDAUG_DATA" not in os.environ, reason="MEDAUG_DATA is not set")
def test_a_real_ultrasound_image_loses_its_identity_and_keeps_its_tissue() -> None:
    folder = Path(os.environ["MEDAUG_DATA"]) / "dicom"
    known = json.loads((folder / "answers.json").read_text("utf-8"))["ultrasound_text"]
    content = (folder / "ultrasound_text" / known["file"]).read_bytes()
    before = pydicom.dcmread(io.BytesIO(content)).pixel_array
    after, _ = _released(content)
    for _, left, top, width, height in known["boxes"]:
        assert not after.pixel_array[top : top + height, left : left + width].any()
    left, top, right, bottom = known["ultrasound_region"]
    kept = (before == after.pixel_array)[top : bottom + 1, left : right + 1]
    assert kept.all()
