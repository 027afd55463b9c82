from __future__ import annotations

from pathlib import Path

import pytest

from medaug.core.errors import CheckpointError, ConfigError, SplitLeakageError
from medaug.core.splits import Fold, training_scope
from medaug.generators.base import (
    CARD,
    GeneratorCard,
    generator_sha256,
    load_generator,
    on_device,
    parse_generator,
    read_generator_config,
)
from tests import made_lesions


def test_kind_chooses_the_configuration() -> None:
    assert parse_generator({"kind": "cgan", "steps": 5}).model_dump()["steps"] == 5
    assert parse_generator({"kind": "copy_paste"}).kind == "copy_paste"


def test_missing_and_unknown_kinds_are_refused_with_a_hint() -> None:
    with pytest.raises(ConfigError, match="no kind is named"):
        parse_generator({"steps": 5})
    with pytest.raises(ConfigError, match="did you mean cgan"):
        parse_generator({"kind": "cgam"})


def test_value_out_of_range_names_the_key() -> None:
    with pytest.raises(ConfigError, match=r"arms\.yaml: steps"):
        parse_generator({"kind": "cgan", "steps": 0}, where="arms.yaml")


@pytest.mark.parametrize(("text", "match"), [("- 1\n", "not a mapping"), ("a: [\n", "not valid YAML")])
def test_broken_files_are_config_errors(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "generator.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=match):
        read_generator_config(path)


def test_missing_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml cannot be read"):
        read_generator_config(tmp_path / "none.yaml")


def test_loading_a_kind_that_needs_no_training() -> None:
    assert load_generator("copy_paste").kind == "copy_paste"


def test_loading_what_is_not_there() -> None:
    with pytest.raises(ConfigError, match="has to be trained first"):
        load_generator("cgan")
    with pytest.raises(ConfigError, match="no folder runs/missing"):
        load_generator("runs/missing")


def test_unfinished_run_says_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no finished generator"):
        load_generator(str(tmp_path))


def test_generator_of_another_fold_is_refused(tmp_path: Path) -> None:
    bank = made_lesions.bank(2, 2)
    card = GeneratorCard(
        kind="cgan",
        config={},
        classes=bank.index.classes,
        scheme=bank.index.scheme,
        training_patients=("patient_000", "patient_001"),
        training_scope_sha256=training_scope(("patient_001", "patient_000")),
        bank_sha256=bank.sha256,
        dataset_sha256="0" * 64,
        fold=0,
        steps=1,
        weights_sha256="0" * 64,
    )
    card.write(tmp_path / CARD)
    fold = Fold(index=1, train=("patient_000",), held_out=("patient_001",))
    with pytest.raises(SplitLeakageError, match="patient_001"):
        load_generator(str(tmp_path), fold)


def test_scope_is_that_of_the_fold_whatever_the_order() -> None:
    fold = Fold(index=0, train=("b", "a"), held_out=("c",))
    assert training_scope(("a", "b")) == fold.scope_sha256


def test_hash_tells_configurations_and_weights_apart() -> None:
    config, other = parse_generator({"kind": "cgan"}), parse_generator({"kind": "cgan", "steps": 5})
    hashes = {generator_sha256(config), generator_sha256(other), generator_sha256(config, "0" * 64)}
    assert len(hashes) == 3


def test_a_network_goes_to_a_device_and_what_has_none_stays_as_it_is() -> None:
    network = parse_generator({"kind": "vae", "steps": 5})
    assert on_device(network, "cuda:1").model_dump() == {**network.model_dump(), "device": "cuda:1"}
    pasted = parse_generator({"kind": "copy_paste"})
    assert on_device(pasted, "cuda:1") is pasted
