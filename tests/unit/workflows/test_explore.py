"""``medaug explore`` writes a sheet of what a vae has learnt, and says plainly why it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib import image as png
from pydantic import ValidationError

from medaug.cli import main as cli
from medaug.core.config import Frozen
from medaug.core.errors import ConfigError, DataError
from medaug.core.runs import NoProgress, open_run
from medaug.core.seeding import SeedTree
from medaug.generators import vae
from medaug.lesions.bank import INDEX, Bank
from medaug.workflows import explore as workflow
from medaug.workflows.explore import ExploreOptions, explore
from tests import made_lesions

SIZE = 16
TILE = 2 * SIZE + 2
BANK = made_lesions.bank(4, 4)


class _Empty(Frozen):
    pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained vae in ``run``; the bank stays in memory, its index lies in ``bank``."""
    path = tmp_path_factory.mktemp("explore")
    config = vae.Config(size=(SIZE, SIZE), base=4, z_size=4, batch_size=4, steps=2, device="cpu")
    with open_run(path / "run", "fit", _Empty(), {}) as run:
        vae.fit(config, BANK, run, NoProgress(), SeedTree(0))
    BANK.index.write(path / "bank" / INDEX)
    return path


@pytest.fixture(autouse=True)
def _in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Held:
        @staticmethod
        def open(path: Path) -> Bank:
            return BANK if path.name == "bank" else made_lesions.bank(3, 3)

    monkeypatch.setattr(workflow, "Bank", Held)


def options(folder: Path, out: Path, **asked: object) -> ExploreOptions:
    return ExploreOptions.model_validate(
        {"run": folder / "run", "bank": folder / "bank", "out": out, "steps": 3, **asked}
    )


def test_samples_of_every_class_stand_beside_a_real_lesion(folder: Path, tmp_path: Path) -> None:
    summary = explore(options(folder, tmp_path / "a.png"), NoProgress())
    assert summary.rows == ("faint", "faint", "bright", "bright")
    assert png.imread(tmp_path / "a.png").shape[:2] == (4 * TILE, 4 * TILE)
    again = explore(options(folder, tmp_path / "b.png"), NoProgress())
    assert again.rows == summary.rows
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    explore(options(folder, tmp_path / "c.png", seed=1), NoProgress())
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "c.png").read_bytes()


def test_a_direction_is_measured_in_what_was_drawn(folder: Path, tmp_path: Path) -> None:
    summary = explore(options(folder, tmp_path / "a.png", direction="contrast"), NoProgress())
    assert summary.explained is not None
    assert 0 <= summary.explained <= 1
    assert [len(row) for row in summary.measured] == [3] * 4
    assert "% of the spread of contrast" in summary.lines()[1]


def test_interpolation_is_one_row_between_two_real_lesions(folder: Path, tmp_path: Path) -> None:
    ends = tuple(BANK.entries(name)[0].lesion_id for name in ("faint", "bright"))
    summary = explore(options(folder, tmp_path / "a.png", interpolate=ends), NoProgress())
    assert summary.rows == ("faint to bright",)
    assert png.imread(tmp_path / "a.png").shape[:2] == (TILE, 5 * TILE)


def test_what_cannot_be_shown_is_refused_in_words(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    wrong: list[tuple[dict[str, object], type[Exception], str]] = [
        ({"interpolate": ("a", "b"), "direction": "size"}, ConfigError, "only one"),
        ({"out": tmp_path / "a.jpg"}, ConfigError, "no PNG"),
        ({"bank": folder / "other"}, ConfigError, "another bank"),
        ({"run": folder / "nowhere"}, ConfigError, "no folder nowhere"),
        ({"interpolate": ("a", "b")}, DataError, "no such lesion"),
    ]
    for asked, error, words in wrong:
        with pytest.raises(error, match=words):
            explore(options(folder, out).model_copy(update=asked), NoProgress())
    with pytest.raises(ValidationError, match="direction"):
        options(folder, out, direction="colour")
    assert not out.exists()


def test_other_generators_have_no_latent_space(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other:
        kind = "other"

    monkeypatch.setattr(workflow, "load_generator", lambda _: Other())
    with pytest.raises(ConfigError, match="other has no latent space"):
        explore(options(folder, tmp_path / "a.png"), NoProgress())


def test_command_line_writes_the_sheet(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (BANK.entries(name)[0].lesion_id for name in ("faint", "bright"))
    words = ["explore", str(folder / "run"), "--bank", str(folder / "bank"), "--out", str(tmp_path / "a.png")]
    assert cli.main([*words, "--interpolate", first, second]) == 0
    assert "interpolation in" in capsys.readouterr().out
    assert (tmp_path / "a.png").is_file()
    assert cli.main([*words, "--direction", "colour"]) == 2
    assert "--direction" in capsys.readouterr().err
