"""Devices by name."""

import pytest
import torch

from medaug.core.errors import ConfigError
from medaug.engine.launch import memory_format, pick_device


def test_names_that_are_understood() -> None:
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type in ("cpu", "cuda")
    assert memory_format(2) is torch.channels_last
    assert memory_format(3) is torch.channels_last_3d


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:99", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        pick_device(name)
