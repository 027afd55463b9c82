"""What every translator promises, whatever its kind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from medaug.core.case import Case, CaseRecord, Origin
from medaug.core.errors import CheckpointError, ConfigError, SplitLeakageError
from medaug.core.plugins import kinds, load_plugin
from medaug.core.runs import NoProgress, open_run
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold
from medaug.core.volume import Unit
from medaug.io.dataset import CaseFacts, write_case
from medaug.translators.base import (
    CARD,
    WEIGHTS,
    Inventor,
    Translator,
    load_translator,
    parse_translator,
    train_translator,
)
from tests.small_cases import CLASSES, chest

# the smallest training of each kind that learns
TINY: dict[str, dict[str, object]] = {
    "style": {
        "target": {"look": {"gamma": 2.0}}, "base": 4, "blocks": 1, "patch": 16, "slices": 8, "batch_size": 2,
        "steps": 2, "device": "cpu",
    },
    "super_resolution": {
        "factor": 2, "base": 4, "blocks": 1, "patch": 8, "depth": 2, "patches": 8, "batch_size": 2, "steps": 2,
        "device": "cpu",
    },
    "whole_image": {
        "size": [32, 32], "tissues": 3, "base": 4, "critic_base": 4, "z_size": 4, "batch_size": 2, "steps": 2,
        "device": "cpu",
    },
}  # fmt: skip


@dataclass(frozen=True)
class MadeCases:
    """Cases in memory, as a training reads them."""

    cases: tuple[Case, ...]
    records: tuple[CaseRecord, ...]
    classes: tuple[str, ...] = CLASSES
    dataset_sha256: str = "0" * 64

    @staticmethod
    def of(folder: Path, cases: list[Case]) -> MadeCases:
        """Written once, so that there are records."""
        records = [write_case(folder, case, CaseFacts(modality="CT")) for case in cases]
        return MadeCases(tuple(cases), tuple(records))

    @property
    def fold(self) -> Fold:
        patients = tuple(sorted({record.patient_id for record in self.records}))
        return Fold(index=0, train=patients, held_out=("somebody_else",))

    def load(self, record: CaseRecord) -> Case:
        return next(case for case in self.cases if case.case_id == record.case_id)


@pytest.fixture(scope="module", params=kinds("translators"))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp(kind)
    cases = MadeCases.of(base / "set", [chest(0), chest(1, ("ground_glass",)), chest(2, CLASSES), chest(3)])
    config = parse_translator({"kind": kind, **TINY.get(kind, {})})
    with open_run(base / "run", "fit", load_plugin("translators", kind).Config(), {}) as run:
        train_translator(config, cases, run, NoProgress(), SeedTree(0))
    return base / "run"


@pytest.fixture(scope="module")
def translator(folder: Path) -> Translator:
    return load_translator(folder)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_kind_is_the_file_name(kind: str, translator: Translator) -> None:
    assert parse_translator({"kind": kind, **TINY.get(kind, {})}).kind == kind
    assert translator.kind == kind
    assert translator.card.kind == kind


def test_unknown_keys_are_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match="no_such_key"):
        parse_translator({"kind": kind, "no_such_key": 1})


def test_card_says_what_was_seen(translator: Translator) -> None:
    card = translator.card
    assert card.classes == CLASSES
    assert (card.unit, card.channels, card.fold) == (Unit.HU, ("CT",), 0)
    assert set(card.training_patients) <= {f"patient_{n:03d}" for n in range(4)}
    assert len(translator.sha256) == 64


def test_a_case_in_a_case_out(translator: Translator) -> None:
    source = chest(7, CLASSES)
    made = translator.translate(source, rng())
    assert made.origin is not Origin.REAL
    assert made.patient_id == source.patient_id
    assert made.volume.unit is source.volume.unit
    assert made.volume.channels == source.volume.channels
    assert np.isfinite(made.volume.image).all()
    assert made.volume.grid.axcodes == "RAS"
    assert made.label_map is not None
    assert made.label_map.grid.agrees_with(made.volume.grid)
    assert set(np.unique(made.label_map.labels)) == {0, 1, 2}


def test_same_rng_same_case(translator: Translator) -> None:
    first, second = (translator.translate(chest(7), rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first.volume.image, second.volume.image)


def test_sources_are_not_changed(translator: Translator) -> None:
    source = chest(7)
    before = source.volume.image.copy()
    translator.translate(source, rng())
    np.testing.assert_array_equal(source.volume.image, before)


def test_case_of_another_unit_is_refused(translator: Translator) -> None:
    source = chest(7)
    other = replace(source, volume=replace(source.volume, unit=Unit.ARBITRARY))
    with pytest.raises(CheckpointError, match="in training"):
        translator.translate(other, rng())


def test_case_of_other_channels_is_refused(translator: Translator) -> None:
    source = chest(7)
    two = replace(source.volume, image=np.repeat(source.volume.image, 2, axis=0), channels=("CT", "PT"))
    with pytest.raises(CheckpointError, match="CT, PT"):
        translator.translate(replace(source, volume=two), rng())


def test_leak_is_refused(folder: Path) -> None:
    with pytest.raises(SplitLeakageError):
        load_translator(folder, Fold(index=0, train=("patient_999",), held_out=("patient_000",)))


def test_unfinished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no finished translator"):
        load_translator(tmp_path)


def test_damaged_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / CARD).write_bytes((folder / CARD).read_bytes())
    (tmp_path / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        load_translator(tmp_path)


def test_changed_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    state = torch.load(folder / WEIGHTS, weights_only=True)
    assert _nudge_first_tensor(state)
    torch.save(state, tmp_path / WEIGHTS)
    (tmp_path / CARD).write_bytes((folder / CARD).read_bytes())
    with pytest.raises(CheckpointError):
        load_translator(tmp_path)


def _nudge_first_tensor(state: dict[str, object]) -> bool:
    for value in state.values():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            value.add_(1.0)
            return True
        if isinstance(value, dict) and _nudge_first_tensor(value):
            return True
    return False


def test_damaged_card_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / CARD).write_text("{}")
    with pytest.raises(CheckpointError, match="damaged"):
        load_translator(tmp_path)


def test_invented_cases_are_nobodys(translator: Translator) -> None:
    if not isinstance(translator, Inventor):
        pytest.skip(f"{translator.kind} changes scans")
    source = chest(7)
    for name in translator.lesions:
        made = translator.invent(source, name, rng(1))
        assert made.origin is Origin.SYNTHETIC
        assert made.site is not None
        assert made.label_map is not None
        assert made.label_map.labels[made.site] == CLASSES.index(name) + 1
        assert set(np.unique(made.label_map.labels)) == {0, CLASSES.index(name) + 1}
    with pytest.raises(ConfigError, match="no class 'cyst'"):
        translator.invent(source, "cyst", rng())
