"""``whole_image`` in 2D and 3D, with several channels and organs; what it keeps of the source, and what it does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medaug.core.case import Case
from medaug.core.errors import ConfigError, DataError
from medaug.core.runs import NoProgress, RunDir, RunRecord
from medaug.core.seeding import SeedTree
from medaug.core.volume import LabelMap
from medaug.engine.checkpoint import load_checkpoint
from medaug.engine.loop import CHECKPOINT
from medaug.translators.whole_image import Config, WholeImage, fit
from tests.contracts.test_translators import MadeCases
from tests.small_cases import CLASSES, chest, head

TINY = {
    "size": (32, 32), "tissues": 3, "base": 4, "critic_base": 4, "z_size": 4, "batch_size": 2, "steps": 2, "device": "cpu"
}  # fmt: skip


class Heard:
    """Progress that remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def start(self, label: str, total: int | None) -> None:
        pass

    def advance(self, units: int = 1, note: str = "") -> None:
        pass

    def say(self, line: str) -> None:
        self.lines.append(line)


def run_in(folder: Path) -> RunDir:
    folder.mkdir(parents=True, exist_ok=True)
    return RunDir(folder, RunRecord(step="fit", status="running", config={}, inputs={}), resumed=False)


def trained(folder: Path, cases: list[Case], progress: Heard | None = None, **changed: object) -> WholeImage:
    config = Config.model_validate({**TINY, **changed})
    made = MadeCases.of(folder / "set", cases)
    return fit(config, made, run_in(folder / "run"), progress or NoProgress(), SeedTree(0))


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> WholeImage:
    cases = [chest(0), chest(1, ("ground_glass",)), chest(2, CLASSES)]
    return trained(tmp_path_factory.mktemp("flat"), cases)


def test_volumes_are_drawn_as_volumes(tmp_path: Path) -> None:
    translator = trained(tmp_path, [chest(0), chest(1, CLASSES)], dims=3, size=(32, 32, 4))
    made = translator.invent(chest(5), "solid", np.random.default_rng(0))
    assert made.volume.grid.shape[2] == 4
    assert made.volume.grid.spacing_mm[2] == pytest.approx(4.0)
    assert np.isfinite(made.volume.image).all()


def test_channels_are_drawn_together_in_the_units_of_the_scans(tmp_path: Path) -> None:
    translator = trained(tmp_path, [head(0), head(1)], anatomy=("ground_glass",))
    made = translator.invent(head(7), "solid", np.random.default_rng(0))
    assert made.volume.channels == ("FLAIR", "T1")
    means = [float(channel.mean()) for channel in made.volume.image]
    assert means[0] > 2 * means[1] > 0


def test_nothing_of_a_lesion_or_of_the_scanner_is_in_the_made_case(flat: WholeImage) -> None:
    source = chest(7)
    assert source.label_map is not None
    image = source.volume.image.copy()
    middle = tuple(np.argwhere(source.label_map.labels > 0).mean(axis=0).round().astype(int))
    image[(0, *middle)] += 60.0
    other = replace(source, volume=replace(source.volume, image=image))
    first, second = (flat.invent(c, "solid", np.random.default_rng(2)) for c in (source, other))
    np.testing.assert_array_equal(first.volume.image, second.volume.image)
    assert (first.volume.grid.affine[:3, 3] == 0).all()


def test_lesions_of_the_source_are_gone(flat: WholeImage) -> None:
    made = flat.invent(chest(2, CLASSES), "ground_glass", np.random.default_rng(1))
    assert made.label_map is not None
    assert np.unique(made.label_map.labels).tolist() == [0, CLASSES.index("ground_glass") + 1]


def test_other_rng_other_layout(flat: WholeImage) -> None:
    first, second = (flat.invent(chest(7), "solid", np.random.default_rng(n)) for n in (0, 1))
    assert not np.array_equal(first.volume.image, second.volume.image)
    assert first.site != second.site


def test_an_interrupted_training_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    cases = [chest(0), chest(1, CLASSES)]
    short = trained(tmp_path / "short", cases, steps=2)
    (tmp_path / "long" / "run").mkdir(parents=True)
    saved = load_checkpoint(tmp_path / "short" / "run" / CHECKPOINT)
    assert saved["step"] == 2
    (tmp_path / "long" / "run" / CHECKPOINT).write_bytes(
        (tmp_path / "short" / "run" / CHECKPOINT).read_bytes()
    )
    resumed = trained(tmp_path / "long", cases, steps=4)
    whole = trained(tmp_path / "whole", cases, steps=4)
    assert resumed.card.weights_sha256 == whole.card.weights_sha256 != short.card.weights_sha256


def test_one_patient_is_said(tmp_path: Path) -> None:
    heard = Heard()
    trained(tmp_path, [chest(0, CLASSES)], heard)
    assert any("only one training patient" in line for line in heard.lines)


def test_settings_that_do_not_fit_the_dataset_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'liver' is no class"):
        trained(tmp_path / "a", [chest(0, CLASSES)], anatomy=("liver",))
    with pytest.raises(ConfigError, match="every class"):
        trained(tmp_path / "b", [chest(0, CLASSES)], anatomy=CLASSES)
    with pytest.raises(DataError, match="class ground_glass"):
        trained(tmp_path / "c", [chest(0), chest(1)])


def test_cases_of_several_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="as the other cases"):
        trained(tmp_path, [chest(0, CLASSES), head(1)])


def test_unlabelled_cases_are_not_learnt_from(tmp_path: Path) -> None:
    bare = replace(chest(5), label_map=None)
    first = trained(tmp_path / "a", [chest(0), chest(1, CLASSES)])
    second = trained(tmp_path / "b", [chest(0), chest(1, CLASSES), bare])
    assert first.card.weights_sha256 == second.card.weights_sha256


def test_label_maps_name_tissues_and_classes(flat: WholeImage) -> None:
    found = flat.label(chest(7))
    assert isinstance(found, LabelMap)
    assert found.class_names == ("tissue_1", "tissue_2", "tissue_3", *CLASSES)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"size": (40, 40)}, "multiple of 16"),
        ({"dims": 3}, "2 numbers for 3 dims"),
        ({"tissues": 0}, "tissues"),
    ],
)
def test_bad_settings_are_refused(wrong: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Config.model_validate(wrong)
