"""Hosts are compared with what a generator has learnt."""

from __future__ import annotations

from pathlib import Path

import pytest

from medaug.core.case import CaseRecord
from medaug.core.config import Frozen
from medaug.core.errors import CheckpointError, GeometryError
from medaug.core.findings import Code
from medaug.core.runs import NoProgress, open_run
from medaug.core.seeding import SeedTree
from medaug.core.splits import Fold
from medaug.core.volume import Unit
from medaug.generators.base import CARD, parse_generator, read_card
from medaug.synthesis.fit import fit_generator
from medaug.synthesis.suited import suited_hosts
from tests import made_lesions

CLASSES = ("faint", "bright")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A generator that has learnt scans of 0.7 x 0.7 x 2 mm."""
    path = tmp_path_factory.mktemp("suited") / "run"
    bank = made_lesions.bank(3, 3)
    fold = Fold(index=0, train=bank.index.training_patients, held_out=("patient_999",))
    with open_run(path, "fit", Frozen(), {}) as opened:
        fit_generator(parse_generator({"kind": "procedural"}), bank, fold, opened, NoProgress(), SeedTree(0))
    return str(path)


def host(*spacing_mm: float, **changes: object) -> CaseRecord:
    plain: dict[str, object] = {
        "case_id": f"case_{round(spacing_mm[-1])}",
        "patient_id": "patient_000",
        "modality": "CT",
        "unit": Unit.HU,
        "channels": ("CT",),
        "shape": (40, 40, 6),
        "spacing_mm": spacing_mm,
        "images": (),
        "label": None,
    }
    return CaseRecord.model_validate({**plain, **changes})


def test_hosts_like_the_learnt_ones_are_kept_without_a_word(run: str) -> None:
    hosts = [host(0.7, 0.7, 2.0), host(0.4, 0.4, 1.1), host(1.3, 1.3, 3.9)]
    assert suited_hosts(run, CLASSES, hosts) == (tuple(hosts), ())


def test_beyond_twice_is_said_and_beyond_four_times_refused(run: str) -> None:
    near, thick, far = host(0.7, 0.7, 2.0), host(0.7, 0.7, 5.0), host(0.1, 0.7, 9.0)
    kept, findings = suited_hosts(run, CLASSES, [near, thick, far])
    assert kept == (near, thick)
    assert [(f.code, f.severity, f.case_id) for f in findings] == [
        (Code.HOST_UNLIKE, "flagged", "case_5"),
        (Code.HOST_UNLIKE, "refused", "case_9"),
    ]
    assert "0.7 x 0.7 x 5 mm is 2.5 times outside what was learnt (0.7 x 0.7 x 2 to" in findings[0].message
    assert "7.0 times" in findings[1].message


def test_no_host_left_is_an_error(run: str) -> None:
    with pytest.raises(
        GeometryError, match=r"every host: the host's spacing of 0\.7 x 0\.7 x 9 mm is 4\.5 times"
    ):
        suited_hosts(run, CLASSES, [host(0.7, 0.7, 9.0)])


def test_unknown_spacing_is_not_compared(run: str) -> None:
    hosts = [host(0.7, 0.7, 90.0, spacing="nominal")]
    assert suited_hosts(run, CLASSES, hosts) == (tuple(hosts), ())


def test_slices_do_not_matter_to_a_generator_of_slices(run: str, tmp_path: Path) -> None:
    card = read_card(Path(run))
    flat = card.model_copy(update={"config": {**card.config, "dims": 2}, "seal": ""})
    flat.write(tmp_path / CARD)
    hosts = [host(0.7, 0.7, 90.0)]
    assert suited_hosts(str(tmp_path), CLASSES, hosts) == (tuple(hosts), ())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unit": Unit.ARBITRARY}, "the host's voxels are in"),
        ({"channels": ("FLAIR",)}, "the host's channels are FLAIR; expected CT, as the generator has learnt"),
        ({"channels": ("CT", "PT")}, "the host's channels are CT, PT"),
    ],
)
def test_other_units_and_channels_are_refused(run: str, changes: dict[str, object], words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        suited_hosts(run, CLASSES, [host(0.7, 0.7, 2.0, **changes)])


def test_another_class_table_is_refused(run: str) -> None:
    with pytest.raises(CheckpointError, match=r"another class table: faint, bright; expected solid, bright"):
        suited_hosts(run, ("solid", "bright"), [host(0.7, 0.7, 2.0)])


def test_a_kind_that_is_not_trained_takes_every_host() -> None:
    hosts = [host(0.7, 0.7, 90.0)]
    assert suited_hosts("copy_paste", CLASSES, hosts) == (tuple(hosts), ())
