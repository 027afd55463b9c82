"""A training that is killed goes on to the same losses and weights, and two processes learn what one does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medaug.core.config import Frozen
from medaug.core.intensity import IntensityScheme
from medaug.core.runs import NoProgress, open_run
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold
from medaug.engine import loop
from medaug.engine.checkpoint import load_checkpoint
from medaug.engine.weights import state_sha256
from medaug.generators.base import parse_generator, read_card
from medaug.synthesis.fit import fit_generator
from medaug.tasks import segmentation
from medaug.tasks.base import REPORT, WEIGHTS, FitReport, TrainingData
from tests import made_lesions
from tests.unit.tasks.cases import CLASSES, make_case

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"size": [16, 16], "base": 4, "batch_size": 4, "steps": 12, "device": "cpu"}
KINDS: dict[str, dict[str, int]] = {
    "cgan": {"critic_base": 4, "samples_every": 5},
    "vae": {"z_size": 4, "free_bits": 0, "samples_every": 5},
}

# sits still in the eighth step, with a checkpoint after every one before, until it is killed
CHILD = """
import sys, time
from pathlib import Path
from tests.e2e.test_training import StuckAt, train
from medaug.engine import loop
loop.SAVE_EVERY_S = -1.0
train(sys.argv[1], Path(sys.argv[2]), StuckAt(8))
"""
# rank and size come from torchrun
TEAM = """
import sys
from pathlib import Path
from tests.e2e.test_training import KINDS, train, train_segmenter
from medaug.engine.launch import joined
with joined() as team:
    rank = Path(sys.argv[1]) / f"rank_{team.rank}"
    for kind in KINDS:
        train(kind, rank / kind)
    train_segmenter(rank / "segmenter")
"""


class StuckAt:
    """Progress that never returns from a step."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def start(self, label: str, total: int | None) -> None:
        pass

    def say(self, line: str) -> None:
        pass

    def advance(self, units: int = 1, note: str = "") -> None:
        self.left -= units
        while self.left <= 0:
            time.sleep(1)


def train(kind: str, path: Path, progress: NoProgress | StuckAt | None = None) -> None:
    bank = made_lesions.bank(6, 6)
    fold = Fold(index=0, train=bank.index.training_patients, held_out=("patient_999",))
    config = parse_generator({"kind": kind, **SMALL, **KINDS[kind]})
    with open_run(path, "fit", Frozen(), {}) as run:
        fit_generator(config, bank, fold, run, progress or NoProgress(), SeedTree(0))


def logged(path: Path) -> list[dict[str, float | str]]:
    lines = [json.loads(line) for line in (path / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "t"} for line in lines]


def started(*call: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, *call], cwd=ROOT, env=environment)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What each of two processes holds after one model of every kind was trained; torch is imported only once for all."""
    folder = tmp_path_factory.mktemp("team")
    script = folder / "team.py"
    script.write_text(TEAM)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    assert started(*launcher, str(script), str(folder)).wait(timeout=600) == 0
    return folder / "rank_0", folder / "rank_1"


@pytest.mark.slow  # torch is imported in another process
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_training_goes_on_to_the_same_losses_and_weights(kind: str, tmp_path: Path) -> None:
    child = started("-c", CHILD, kind, str(tmp_path / "killed"))
    log = tmp_path / "killed" / "log.jsonl"
    until = time.monotonic() + 300
    while not (log.is_file() and '"step": 6,' in log.read_text()) and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(1)  # into the step after
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert (tmp_path / "killed" / loop.CHECKPOINT).is_file()
    assert json.loads((tmp_path / "killed/run.json").read_text())["status"] == "running"
    train(kind, tmp_path / "killed")
    train(kind, tmp_path / "whole")
    assert logged(tmp_path / "killed") == logged(tmp_path / "whole")
    hashes = {read_card(tmp_path / name).weights_sha256 for name in ("killed", "whole")}
    assert len(hashes) == 1
    pictures = [(tmp_path / name / "samples/step_000010.png").read_bytes() for name in ("killed", "whole")]
    assert pictures[0] == pictures[1]


@pytest.mark.slow  # torch is imported in three processes
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_train_one_model(kind: str, ranks: tuple[Path, Path], tmp_path: Path) -> None:
    folders = [rank / kind for rank in ranks]
    first, second = (read_card(folder) for folder in folders)
    assert first.weights_sha256 == second.weights_sha256
    assert logged(folders[0]) == logged(folders[1])
    assert not (folders[1] / loop.CHECKPOINT).exists()
    if kind == "vae":  # all draw the whole batch, and each takes its rows: one process alone does the same
        train(kind, tmp_path / "alone")
        for one, two in zip(logged(tmp_path / "alone"), logged(folders[0]), strict=True):
            assert two == {
                name: value if isinstance(value, str) else pytest.approx(value, rel=1e-3)
                for name, value in one.items()
            }


def train_segmenter(path: Path) -> None:
    cases = tuple(make_case(n, shape=(16, 16, 4)) for n in range(4))
    data = TrainingData(cases, CLASSES, IntensityScheme.for_volume(cases[0].volume))
    config = segmentation.Config(
        patch_size=(16, 16), batch_size=4, steps=3, base_channels=4, levels=2, ema=0.5
    )
    with open_run(path, "train", Frozen(), {}) as run:
        config.build("cpu").fit(data, lambda batch, rngs: batch, run, NoProgress(), SeedTree(0))


@pytest.mark.slow  # torch is imported in three processes
def test_two_processes_train_one_segmenter(ranks: tuple[Path, Path], tmp_path: Path) -> None:
    train_segmenter(tmp_path / "alone")
    folders = [*(rank / "segmenter" for rank in ranks), tmp_path / "alone"]
    first, second, alone = (state_sha256(load_checkpoint(folder / WEIGHTS)) for folder in folders)
    assert first == second != alone  # regions of a loss are those of a part of the batch
    assert logged(folders[0]) == logged(folders[1])
    reports = [FitReport.read(folder / REPORT).model_copy(update={"seconds": 0.0}) for folder in folders]
    assert reports[0] == reports[1] == reports[2]
