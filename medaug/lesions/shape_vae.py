"""Shapes from a variational autoencoder of signed distance maps, taught by a bank's lesions and kept beside them.

A small convolutional autoencoder (Kingma & Welling, ICLR 2014). New codes are drawn from a normal distribution fitted to the
codes of the bank's own lesions (Ghosh et al., ICLR 2020), since few lesions do not fill the prior.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final, final

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from medaug.core.errors import DataError, StorageError
from medaug.core.storage import atomic_path, sha256_text
from medaug.lesions.bank import Bank
from medaug.lesions.distance_maps import FARTHEST, SIDES, Map, maps_of

_CODES: Final = 8
_WIDTHS = (8, 16, 32)
_STEPS: Final = 400
_BATCH = 16
_RATE = 2e-3
_KL = 5e-4  # a cell of the map; more of it would make all shapes alike
_VERSION = 1
_SEED = 0


@final
class _Net(nn.Module):
    """Encoder and decoder of maps, in two or three axes."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.dims, self.side = dims, SIDES[dims] // 2 ** len(_WIDTHS)
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        same = "bilinear" if dims == 2 else "trilinear"  # a transposed convolution would fray the outline
        inner = _WIDTHS[-1] * self.side**dims
        down: list[nn.Module] = []
        for before, after in zip((1, *_WIDTHS[:-1]), _WIDTHS, strict=True):
            down += [conv(before, after, 4, 2, 1), nn.SiLU()]
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(inner, 2 * _CODES))
        up: list[nn.Module] = [
            nn.Linear(_CODES, inner),
            nn.SiLU(),
            nn.Unflatten(1, (_WIDTHS[-1], *(self.side,) * dims)),
        ]
        for before, after in zip(_WIDTHS[::-1], (*_WIDTHS[-2::-1], 1), strict=True):
            up += [nn.Upsample(scale_factor=2, mode=same), conv(before, after, 3, 1, 1), nn.SiLU()]
        self.decoder = nn.Sequential(*up[:-1])


@final
class VaeShapes:
    """Decodes maps from drawn codes.

    Args:
        net: The trained network.
        middle: Mean of the bank's codes.
        spread: Square root of their covariance.
    """

    def __init__(self, net: _Net, middle: Float[np.ndarray, " c"], spread: Float[np.ndarray, "c c"]) -> None:
        self._net, self._middle, self._spread = net.eval(), middle, spread

    @staticmethod
    def fit(maps: Float32[np.ndarray, "n *S"], steps: int = _STEPS) -> VaeShapes:
        """Train on maps; the same maps give the same shapes on one machine.

        Args:
            maps: As of :func:`medaug.lesions.distance_maps.maps_of`.
            steps: Of the optimiser, 16 maps each, at random flipped and turned.
        """
        source = torch.Generator().manual_seed(_SEED)
        net = _Net(maps.ndim - 1)
        _initialise(net, source)
        whole = torch.from_numpy(maps / np.float32(FARTHEST))[:, None]
        optimiser = torch.optim.Adam(net.parameters(), _RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, steps)
        for step in range(steps):
            chosen = torch.randint(len(whole), (_BATCH,), generator=source)
            with torch.enable_grad():  # lesions prepared side by side record no gradient
                loss = _loss(net, _turned(whole[chosen], source), source, _KL * min(1.0, 2 * step / steps))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        return VaeShapes(net, *_codes(net, whole, source))

    def sample(self, rng: np.random.Generator) -> Map:
        """A new map."""
        code = self._middle + self._spread @ rng.standard_normal(_CODES)
        with torch.inference_mode():
            decoded = self._net.decoder(torch.from_numpy(code.astype(np.float32))[None])[0, 0]
        return np.asarray(np.clip(decoded.numpy(), -1.0, 1.0) * np.float32(FARTHEST))

    def write(self, path: Path) -> None:
        """Store it as arrays."""
        arrays = {name: value.numpy() for name, value in self._net.state_dict().items()}
        with atomic_path(path) as temporary, temporary.open("wb") as handle:
            np.savez(
                handle, middle=self._middle, spread=self._spread, dims=np.array(self._net.dims), **arrays
            )

    @staticmethod
    def read(path: Path) -> VaeShapes | None:
        """The one in a file; None where it is missing or damaged and is to be taught again."""
        try:
            with path.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            net = _Net(int(arrays.pop("dims")))
            middle, spread = arrays.pop("middle"), arrays.pop("spread")
            net.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
        except (OSError, KeyError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile):
            return None
        return VaeShapes(net, middle, spread)


def learnt_or_stored(bank: Bank, class_name: str | None, dims: int) -> VaeShapes:
    """The shape model of a class, or of all, from the bank's folder; taught and stored there where it is not yet.

    It belongs to the bank as the crops do: it knows the training patients of the bank's fold and nobody else.

    Raises:
        DataError: If no lesion is large enough to learn a shape from.
        UnreadableError: If a crop is damaged.
    """
    name = sha256_text(f"{bank.sha256} {class_name} {dims} {_VERSION}")[:16]
    path = None if bank.folder is None else bank.folder / f"shapes_{dims}d_{name}.npz"
    stored = None if path is None else VaeShapes.read(path)
    if stored is not None:
        return stored
    maps = maps_of([bank.crop(entry.lesion_id) for entry in bank.entries(class_name)], dims)
    if not len(maps):
        raise DataError("no lesion is large enough to learn shapes from", hint="draw shapes from bank masks")
    learnt = VaeShapes.fit(maps)
    if path is not None:
        try:
            learnt.write(path)
        except StorageError:
            return learnt  # a bank that may not be written to teaches again next time
    return learnt


def _initialise(net: nn.Module, source: torch.Generator) -> None:
    with torch.no_grad():
        for weight in net.parameters():
            fan_in = weight[0].numel() if weight.ndim > 1 else 0
            weight.normal_(0.0, (2.0 / fan_in) ** 0.5, generator=source) if fan_in else weight.zero_()


def _loss(net: _Net, maps: Tensor, source: torch.Generator, kl: float) -> Tensor:
    """Mean squared error, near the outline twice as heavy, and the divergence of the codes from the prior."""
    middle, log_variance = net.encoder(maps).chunk(2, dim=1)
    noise = torch.randn(middle.shape, generator=source)
    decoded = net.decoder(middle + noise * torch.exp(0.5 * log_variance))
    error = ((decoded - maps) ** 2 * (1.0 + (maps.abs() < 0.5))).mean()
    divergence = 0.5 * (middle**2 + log_variance.exp() - 1.0 - log_variance).sum(dim=1).mean()
    return torch.add(error, divergence, alpha=kl)


def _turned(maps: Tensor, source: torch.Generator) -> Tensor:
    """Each batch flipped along random axes and turned in plane, or not."""
    draws = torch.rand(maps.ndim - 1, generator=source) < 0.5
    maps = maps.flip([axis for axis in range(2, maps.ndim) if draws[axis - 2]])
    return maps.transpose(2, 3) if draws[-1] else maps


def _codes(
    net: _Net, maps: Tensor, source: torch.Generator
) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, "c c"]]:
    """Mean and square root of the covariance of the codes, their uncertainty included."""
    with torch.inference_mode():
        pairs = [net.encoder(_turned(maps, source)).chunk(2, dim=1) for _ in range(4)]
        middle = torch.cat([pair[0] for pair in pairs]).double()
        own = torch.cat([pair[1] for pair in pairs]).double().exp().mean(dim=0)
        covariance = torch.cov(middle.T) + torch.diag(own)
        return middle.mean(dim=0).numpy(), torch.linalg.cholesky(covariance).numpy()
