"""Converted and ingested again, a dataset is the same: every voxel, label, place and fact, in every form."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medaug.core.case import Case, CaseRecord, Manifest, Origin, read_manifest
from medaug.core.geometry import Grid
from medaug.core.runs import NoProgress
from medaug.core.volume import LabelMap, Unit, Volume
from medaug.io.dataset import CaseFacts, finish_dataset, load_case, load_edit_mask, write_case
from medaug.workflows.convert import ConvertOptions, Form, convert
from medaug.workflows.ingest import IngestOptions, ingest

CLASSES = ("solid", "ground glass", "never seen")
FORMS: tuple[Form, ...] = tuple(
    form for form in get_args(Form) if form != "dicom"
)  # test_dicom_round_trip.py
# ids and names that no form takes as they are, or that two of a form's own names could be
PATIENTS = ("p_1", "p-1", "P1", "anna")
CHANNELS = (("CT",), ("FLAIR",), ("T1", "t1", "T1ce"), ("a b", "a-b"), ("FLAIR", "ADC", "ü"))
KEPT = set(CaseRecord.model_fields) - {"images", "label", "edit_mask", "findings"}

splits: st.SearchStrategy[Literal["train", "test"] | None] = st.sampled_from(["train", "test", None])
spacings: st.SearchStrategy[Literal["known", "nominal"]] = st.sampled_from(["known", "nominal"])
cases = st.fixed_dictionaries(
    {
        "patient": st.sampled_from(PATIENTS),
        "kind": st.sampled_from(["labelled", "free", "unlabelled"]),
        "whole": st.booleans(),
        "split": splits,
        "spacing": spacings,
        "licence": st.sampled_from([None, "CC-BY-4.0"]),
        "terms": st.sampled_from([None, 'Ask first; then "quote", thanks']),
    }
)
sets = st.fixed_dictionaries(
    {
        "shape": st.sampled_from([(5, 4, 3), (6, 7, 1), (1, 4, 5)]),
        "channels": st.sampled_from(CHANNELS),
        "origin": st.sampled_from(list(Origin)),
        "unit": st.sampled_from(list(Unit)),
        "modality": st.sampled_from(["CT", "MR", "PT", "OT"]),
        "cases": st.lists(cases, min_size=1, max_size=3),
        "seed": st.integers(0, 1000),
    }
)


def make(folder: Path, drawn: dict[str, Any]) -> Manifest:
    rng = np.random.default_rng(drawn["seed"])
    records = [_write(folder, n, one, drawn, rng) for n, one in enumerate(drawn["cases"])]
    manifest = Manifest(name="set", classes=CLASSES, cases=tuple(records))
    finish_dataset(folder, manifest, ())
    return manifest


def _write(
    folder: Path, number: int, one: dict[str, Any], drawn: dict[str, Any], rng: np.random.Generator
) -> CaseRecord:
    shape, channels = drawn["shape"], drawn["channels"]
    turn = np.array([[0.96, 0.28, 0, 0], [-0.28, 0.96, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    affine = turn @ np.array([[0.7, 0, 0, -9.3], [0, 0.9, 0, 4], [0, 0, 2.5, 0.1], [0, 0, 0, 1.0]])
    # files hold float32
    grid = Grid(shape, affine.astype(np.float32).astype(np.float64))
    image = rng.normal(0, 400, (len(channels), *shape)).astype(np.float32)
    image = np.rint(image) if one["whole"] else image
    image[0].flat[0] = 0.0 if one["whole"] else -0.0
    labels = rng.integers(0, 3, shape).astype(np.uint8)
    labels.flat[0] = 1
    synthetic = drawn["origin"] is Origin.SYNTHETIC
    case = Case(
        f"case-{number}_x",
        one["patient"],
        Volume(image, grid, drawn["unit"], channels, one["spacing"] == "known"),
        LabelMap(labels, grid, CLASSES) if one["kind"] == "labelled" else None,
        drawn["origin"],
    )
    facts = CaseFacts(
        modality=drawn["modality"],
        split=one["split"],
        lesion_free=one["kind"] == "free",
        licence=one["licence"],
        terms=one["terms"],
        source_sha256=(f"{number:064x}",),
    )
    return write_case(folder, case, facts, rng.random(shape) < 0.3 if synthetic else None)


@pytest.mark.parametrize("form", FORMS)
@given(drawn=sets)
@settings(max_examples=5, deadline=None)
def test_every_form_gives_the_same_dataset_back(form: Form, drawn: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before = make(folder / "a", drawn)
        convert(ConvertOptions(dataset=folder / "a", to=form, out=folder / "b"), NoProgress())
        converted = read_manifest(folder / "b")
        ingest(IngestOptions(sources=(folder / "b",), out=folder / "c"), NoProgress())
        after = read_manifest(folder / "c")
        assert after.classes == converted.classes == before.classes
        assert [r.model_dump(include=KEPT) for r in after.cases] == [
            r.model_dump(include=KEPT) for r in before.cases
        ]
        for place, manifest in (("b", converted), ("c", after)):
            for old, new in zip(before.cases, manifest.cases, strict=True):
                require_same(folder / "a", old, folder / place, new)


def require_same(before: Path, old: CaseRecord, after: Path, new: CaseRecord) -> None:
    wanted, found = load_case(before, old, CLASSES), load_case(after, new, CLASSES)
    assert found.volume.image.tobytes() == wanted.volume.image.tobytes()
    assert found.volume.grid.affine.tobytes() == wanted.volume.grid.affine.tobytes()
    assert (found.label_map is None) == (wanted.label_map is None)
    if found.label_map is not None and wanted.label_map is not None:
        assert np.array_equal(found.label_map.labels, wanted.label_map.labels)
    assert (new.edit_mask is None) == (old.edit_mask is None)
    if new.edit_mask is not None:
        assert np.array_equal(load_edit_mask(after, new), load_edit_mask(before, old))
