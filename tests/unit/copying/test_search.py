"""The search on made-up textures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medaug.copying.imprint import Imprint
from medaug.copying.planting import CHANGES, Change, plant
from medaug.copying.search import CopySearch
from medaug.core.errors import DataError
from medaug.core.runs import NoProgress
from tests.unit.copying.textures import imprint, texture


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def search() -> CopySearch:
    training = [imprint(n, "t") for n in range(12)]
    held_out = [imprint(100 + n, "h") for n in range(20)]
    return CopySearch(training, held_out, 0, NoProgress())


@pytest.mark.parametrize("change", CHANGES)
def test_planted_copies_are_flagged_and_their_source_named(search: CopySearch, change: Change) -> None:
    rng = np.random.default_rng(11)
    copy = plant(texture(5)[..., 0], texture(200)[..., 0], change, rng)[..., None]
    (found,) = search.nearest(imprint(300, "s", copy, lesion=False))
    assert (found.part, found.source_case_id, found.source_patient_id) == ("background", "t5", "tpatient5")
    assert found.score >= 1.0


def test_new_textures_are_not_flagged(search: CopySearch) -> None:
    scores = [m.score for n in range(10) for m in search.nearest(imprint(400 + n, "n"))]
    assert len(scores) == 20
    assert sum(score >= 1.0 for score in scores) <= 1


def test_a_copy_is_described_in_words(search: CopySearch) -> None:
    turned = np.rot90(texture(3), 1, (1, 2))
    found = {m.part: m for m in search.nearest(imprint(1, "s", -turned))}
    assert found["lesion"].source_case_id == "t3"
    assert "inverted" in found["background"].transform
    assert "turned by 90 degrees" in found["background"].transform
    drawn = np.corrcoef(found["background"].query_picture.ravel(), found["background"].source_picture.ravel())
    assert drawn[0, 1] < -0.9


@pytest.mark.parametrize("rim", [10, 17])
def test_a_copied_lesion_in_a_host_is_no_copied_background(search: CopySearch, rim: int) -> None:
    host, edit = texture(500), np.zeros((48, 48, 1), bool)
    edit[rim : 48 - rim, rim : 48 - rim] = True
    image = np.where(edit[None], texture(7), host)
    case = replace(imprint(2, "s", image), edit_mask=edit)
    found = {m.part: m for m in search.nearest(case)}
    assert found["lesion"].source_case_id == "t7"
    assert found["lesion"].score >= 1.0 > found["background"].score


def test_a_case_without_a_lesion_shows_its_background_alone(search: CopySearch) -> None:
    assert [m.part for m in search.nearest(imprint(600, "s", lesion=False))] == ["background"]


def test_few_held_out_patients_give_no_threshold() -> None:
    few = CopySearch([imprint(n, "t") for n in range(4)], [imprint(9, "h")], 0, NoProgress())
    assert few.calibration("lesion") is None
    assert few.n_held_out("lesion") == 1
    assert few.plant("lesion", NoProgress()) is None
    assert {m.score for m in few.nearest(imprint(1, "t"))} == {0.0}


def test_planted_copies_are_counted(search: CopySearch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medaug.copying.search._PLANTED", 1)
    planted = search.plant("background", NoProgress())
    assert planted is not None
    assert set(planted.flagged) == set(CHANGES)
    assert planted.recall > 0.8
    assert planted.named > 0.9


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: replace(c, image=np.full_like(c.image, np.nan)), "not finite"),
        (lambda c: replace(c, image=np.concatenate([c.image, c.image])), "other channels"),
    ],
)
def test_what_cannot_be_compared_is_refused(search, change, words):
    with pytest.raises(DataError, match=words):
        search.nearest(change(imprint(1, "s")))


def test_nothing_to_search_is_refused() -> None:
    with pytest.raises(DataError, match="no training image"):
        CopySearch([], [], 0, NoProgress())


def test_a_single_patient_cannot_be_searched() -> None:
    with pytest.raises(DataError, match="one training patient"):
        CopySearch([replace(imprint(n, "t"), patient_id="p") for n in range(4)], [], 0, NoProgress())


def test_many_queries_find_what_each_finds_alone(search: CopySearch) -> None:
    queries = [imprint(n, "s") for n in range(5)]
    together = list(search.nearest_to_all(iter(queries)))
    assert [query for query, _ in together] == queries
    alone = [search.nearest(query) for query in queries]
    assert [
        (match.part, match.source_case_id, match.transform) for _, found in together for match in found
    ] == [(match.part, match.source_case_id, match.transform) for found in alone for match in found]


def test_volumes_are_searched_in_space() -> None:
    def volume(seed: int, prefix: str) -> Imprint:
        image = texture(seed, (16, 16, 16))
        return Imprint(f"{prefix}{seed}", f"{prefix}{seed}", image, np.zeros((16,) * 3, bool), (1.0,) * 3)

    search = CopySearch([volume(n, "t") for n in range(8)], [], 0, NoProgress())
    assert search.layout.dims == 3
    copy = np.ascontiguousarray(np.rot90(volume(2, "t").image, 1, (1, 3)))
    (found,) = search.nearest(replace(volume(99, "s"), image=copy))
    (other,) = search.nearest(volume(50, "s"))
    assert found.source_case_id == "t2"
    assert found.evidence > 2.0 * other.evidence
