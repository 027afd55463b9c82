"""Pictures of samples: the last, and those of earlier steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import image as png

from medaug.core.config import Frozen
from medaug.core.runs import NoProgress, RunDir, open_run
from medaug.core.seeding import SeedTree
from medaug.engine.checkpoint import State
from medaug.engine.loop import fit_loop
from medaug.engine.watch import VitalSigns
from medaug.generators._patches.pictures import EARLIER, SAMPLES, Watched, write_sheet


class Painter:
    """Paints brighter squares from step to step."""

    shown = (0.0, 1.0)

    def __init__(self) -> None:
        self.level = 0.0

    def train_step(self, step: int) -> dict[str, float]:
        self.level = (step + 1) / 10
        return {"level": self.level}

    def samples(self, seed: SeedTree) -> list[torch.Tensor]:
        return [torch.full((3, 1, 8, 8), self.level), torch.full((3, 1, 8, 8), self.level / 2)]

    def state(self) -> State:
        return {"level": self.level}

    def restore(self, state: State) -> None:
        self.level = float(state["level"])  # type: ignore[arg-type]


class Sickly(Painter):
    """One that can be examined."""

    def vital_signs(self, step: int) -> VitalSigns:
        return VitalSigns(variety=step / 10)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    with open_run(tmp_path / "run", "fit", Frozen(), {}) as opened:
        return opened


def test_pictures_of_several_steps_stay(run: RunDir) -> None:
    watched = Watched(Painter(), run, SeedTree(0), every=4)
    fit_loop(watched, steps=10, run=run, progress=NoProgress(), label="painter")
    kept = sorted(path.name for path in (run.path / EARLIER).iterdir())
    assert kept == ["step_000004.png", "step_000008.png"]
    levels = [float(png.imread(path)[..., 0][2, 2]) for path in sorted((run.path / EARLIER).iterdir())]
    np.testing.assert_allclose(levels, [0.4, 0.8], atol=0.01)
    watched.picture()
    assert float(png.imread(run.path / SAMPLES)[2, 2, 0]) == pytest.approx(1.0)


def test_signs_are_those_of_the_learner_where_it_has_any(run: RunDir) -> None:
    assert Watched(Painter(), run, SeedTree(0), 4).vital_signs(3) == VitalSigns()
    assert Watched(Sickly(), run, SeedTree(0), 4).vital_signs(3) == VitalSigns(variety=0.3)


def test_a_volume_is_shown_by_its_middle_slice(tmp_path: Path) -> None:
    patch = torch.zeros(1, 1, 8, 8, 5)
    patch[..., 2] = 1
    write_sheet(tmp_path / "sheet.png", [patch], (0.0, 1.0))
    assert float(png.imread(tmp_path / "sheet.png")[..., :3].min()) == 1
