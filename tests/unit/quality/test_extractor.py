"""A network of the user's gives features, or says in one line why not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medaug.core.errors import ConfigError, DataError
from medaug.quality.extractor import SIZE, Extractor

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


class Means(nn.Module):
    """Mean and maximum of each channel."""

    def forward(self, image: Tensor) -> Tensor:
        flat = image.flatten(2)
        return torch.cat([flat.mean(2), flat.amax(2)], dim=1)


class Whole(nn.Module):
    """No row for each lesion."""

    def forward(self, image: Tensor) -> Tensor:
        return image.mean()[None, None]


class Empty(nn.Module):
    """No feature."""

    def forward(self, image: Tensor) -> Tensor:
        return image.flatten(1)[:, :0]


class Broken(nn.Module):
    """Not finite."""

    def forward(self, image: Tensor) -> Tensor:
        return image.flatten(1)[:, :4] / 0.0


def saved(net: nn.Module, path: Path, size: str | None = None) -> Path:
    named = {} if size is None else {"size": size}
    torch.jit.save(torch.jit.script(net), str(path), _extra_files=named)
    return path


IMAGES = np.random.default_rng(0).normal(size=(70, 2, 64, 64)).astype(np.float32)


def test_features_of_all_lesions_and_the_hash_of_the_file(tmp_path):
    path = saved(Means(), tmp_path / "net.pt")
    extractor = Extractor(path)
    assert extractor.size == SIZE == (64, 64)
    assert extractor.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    found = extractor.features(IMAGES)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[:, :2], IMAGES.mean(axis=(2, 3)), atol=1e-6)


def test_the_file_names_its_size(tmp_path):
    assert Extractor(saved(Means(), tmp_path / "net.pt", "[16, 16, 8]")).size == (16, 16, 8)


@pytest.mark.parametrize("size", ["[16]", "[16, 2.5]", "[4, 4]", "[16, true]", "{}", "large"])
def test_a_size_that_is_none_is_refused(tmp_path, size):
    with pytest.raises(ConfigError, match="extractor: its size is"):
        Extractor(saved(Means(), tmp_path / "net.pt", size))


def test_what_is_no_network_is_refused(tmp_path):
    (tmp_path / "net.pt").write_bytes(b"weights")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "state.pt")
    for name in ("net.pt", "state.pt", "absent.pt"):
        with pytest.raises(ConfigError, match="no TorchScript network"):
            Extractor(tmp_path / name)


def test_a_network_that_does_not_fit_is_refused(tmp_path):
    extractor = Extractor(saved(nn.Conv2d(3, 4, 3), tmp_path / "net.pt"))
    with pytest.raises(DataError, match="extractor: fails on 64x2x64x64 float32"):
        extractor.features(IMAGES)
    with pytest.raises(DataError, match="extractor: returns 64x2x62x62"):
        Extractor(saved(nn.Conv2d(2, 2, 3), tmp_path / "maps.pt")).features(IMAGES)
    with pytest.raises(DataError, match="extractor: returns 1x1 for 64x2x64x64; expected 64 rows"):
        Extractor(saved(Whole(), tmp_path / "whole.pt")).features(IMAGES)
    with pytest.raises(DataError, match=r"returns 64x0 .* expected 64 rows of 1 to 16384 features"):
        Extractor(saved(Empty(), tmp_path / "empty.pt")).features(IMAGES)
    with pytest.raises(DataError, match="extractor: returns values that are not finite"):
        Extractor(saved(Broken(), tmp_path / "broken.pt")).features(IMAGES)
