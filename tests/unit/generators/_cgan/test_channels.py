from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from medaug.core.runs import NoProgress
from medaug.generators._cgan.build import build_net
from medaug.generators._cgan.channels import channel_factors, correlated
from medaug.generators._cgan.noise import Noise
from medaug.generators._cgan.settings import Config
from medaug.generators._patches.batches import TrainingSet, gather
from tests import made_lesions

CONFIG = Config(size=(16, 16), base=4, critic_base=4, batch_size=4, steps=8, device="cpu")


def two_channels(share: float) -> TrainingSet:
    """Lesions whose second channel is the first turned over, but for noise of its own."""
    one = gather(made_lesions.bank(4, 4), CONFIG, NoProgress())
    first = one.patches.image
    own = torch.randn(first.shape, generator=torch.Generator().manual_seed(0)) * first.std()
    both = torch.cat([first, share * own - first], dim=1)
    figures, cumulative = (part.expand(-1, 2, -1) for part in (one.patches.figures, one.patches.cumulative))
    filled = one.patches.filled.expand(-1, 2, -1, -1)
    return replace(
        one, patches=replace(one.patches, image=both, filled=filled, figures=figures, cumulative=cumulative)
    )


def correlation(noise: torch.Tensor) -> float:
    rows = noise.transpose(0, 1).flatten(1)
    return float(torch.corrcoef(rows)[0, 1])


def test_noise_has_the_correlation_of_the_lesions() -> None:
    white = torch.randn(4, 2, 64, 64, generator=torch.Generator().manual_seed(1))
    for factor in channel_factors(two_channels(0.0)):
        tied = correlated(white, factor)
        assert abs(correlation(tied) + 0.95) < 0.02  # -1, shrunk
        assert torch.allclose(tied.std(dim=(0, 2, 3)), torch.ones(2), atol=0.02)


def test_noise_of_its_own_loosens_the_tie() -> None:
    tight, loose = (channel_factors(two_channels(share))[1] @ channel_factors(two_channels(share))[1].T
                    for share in (0.1, 1.0))  # fmt: skip
    assert tight[0, 1] < loose[0, 1] < 0


def test_one_channel_stays_as_it_is() -> None:
    training = gather(made_lesions.bank(4, 4), CONFIG, NoProgress())
    factors, net = channel_factors(training), build_net(CONFIG, 1, 2)
    assert torch.equal(factors, torch.ones(2, 1, 1))
    tied, free = (Noise.draw(net, 3, np.random.default_rng(0), given) for given in (factors, None))
    assert torch.equal(tied.fine, free.fine)
    assert torch.equal(tied.broad, free.broad)
