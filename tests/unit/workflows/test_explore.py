"""``medaug explore`` writes a sheet of what a vae has learnt, and says plainly why it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib import image as png
from pydantic import ValidationError

from medaug.cli import main as cli
from medaug.core.config import Frozen
from medaug.core.errors import CheckpointError, ConfigError, DataError
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
    assert len(summary.follows) == 4
    assert "% of the spread of contrast" in summary.lines()[1]
    assert "with the steps" in summary.lines()[2]


def test_size_follows_its_direction_and_is_not_said_to_come_from_codes(folder: Path, tmp_path: Path) -> None:
    summary = explore(options(folder, tmp_path / "a.png", direction="size", steps=5), NoProgress())
    assert summary.explained is None
    assert all(follows is not None and follows > 0.8 for follows in summary.follows)


@pytest.mark.parametrize("bank", ["bank", "other"])
def test_a_lesion_of_any_bank_is_denoised_and_measured(folder: Path, tmp_path: Path, bank: str) -> None:
    asked = options(folder, tmp_path / "a.png", denoise=BANK.entries("bright")[0].lesion_id, noise=1.5)
    summary = explore(asked.model_copy(update={"bank": folder / bank}), NoProgress())
    assert png.imread(tmp_path / "a.png").shape[:2] == (TILE, 3 * TILE)
    assert summary.psnr_noised is not None
    assert summary.psnr_denoised is not None
    assert summary.psnr_denoised > summary.psnr_noised + 3
    assert "dB noised" in summary.lines()[1]


def test_interpolation_is_one_row_between_two_real_lesions(folder: Path, tmp_path: Path) -> None:
    ends = tuple(BANK.entries(name)[0].lesion_id for name in ("faint", "bright"))
    summary = explore(options(folder, tmp_path / "a.png", interpolate=ends), NoProgress())
    assert summary.rows == ("faint to bright",)
    assert png.imread(tmp_path / "a.png").shape[:2] == (TILE, 5 * TILE)


def test_what_cannot_be_shown_is_refused_in_words(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    wrong: list[tuple[dict[str, object], type[Exception], str]] = [
        ({"interpolate": ("a", "b"), "direction": "size"}, ConfigError, "only one"),
        ({"denoise": "a", "direction": "size"}, ConfigError, "only one"),
        ({"interpolate": ("a", "a")}, ConfigError, "same lesion twice"),
        ({"denoise": "a"}, DataError, "no such lesion"),
        ({"run": folder}, CheckpointError, "holds no finished generator"),
        ({"out": tmp_path / "a.jpg"}, ConfigError, "no PNG"),
        ({"bank": folder / "other"}, ConfigError, "another bank"),
        ({"run": folder / "nowhere"}, ConfigError, "no folder .*nowhere"),
        ({"interpolate": ("a", "b")}, DataError, "no such lesion"),
    ]
    for asked, error, words in wrong:
        with pytest.raises(error, match=words):
            explore(options(folder, out).model_copy(update=asked), NoProgress())
    with pytest.raises(ValidationError, match="direction"):
        options(folder, out, direction="colour")
    assert not out.exists()
    out.write_bytes(b"a picture of before")
    with pytest.raises(ConfigError, match=r"a\.png exists"):
        explore(options(folder, out), NoProgress())
    assert out.read_bytes() == b"a picture of before"


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
