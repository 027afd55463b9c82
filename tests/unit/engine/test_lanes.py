"""Work side by side: the same results, in order, and torch's settings as they were."""

from __future__ import annotations

import pytest
import torch

from medaug.engine.lanes import is_watched, one_by_one, one_core, side_by_side


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_parts_run_on_one_core_each_and_keep_their_order(two_threads):
    images = torch.ones(3, requires_grad=True)

    def work(number):
        return number, torch.get_num_threads(), (images * 2).requires_grad

    assert side_by_side(work, range(5)) == [(n, 1, False) for n in range(5)]
    assert torch.get_num_threads() == 2
    assert torch.is_grad_enabled()


def test_an_error_of_a_part_is_that_of_the_call(two_threads):
    def work(number):
        if number == 1:
            raise ValueError("second part")
        return number

    with pytest.raises(ValueError, match="second part"):
        side_by_side(work, range(3))
    assert torch.get_num_threads() == 2


def test_parts_are_made_no_earlier_than_they_are_needed(two_threads):
    made = []

    def parts():
        for number in range(20):
            made.append(number)
            yield number

    results = one_by_one(lambda number: (number, torch.get_num_threads()), parts())
    assert next(results) == (0, 1)
    assert len(made) <= 4
    assert list(results) == [(n, 1) for n in range(1, 20)]
    assert torch.get_num_threads() == 2


def test_one_core_is_given_back(two_threads):
    with one_core():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_gradients_and_inference_stay_on_their_thread():
    images = torch.ones(2, requires_grad=True)
    assert is_watched(images)
    assert not is_watched(images.detach())
    with torch.no_grad():
        assert not is_watched(images)
    with torch.inference_mode():
        assert is_watched(images.detach())
