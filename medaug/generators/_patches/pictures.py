"""The picture of samples in a run folder: for each class a real lesion, the coarse one, and several made ones."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, final

import numpy as np
from jaxtyping import Float
from matplotlib import image as png
from torch import Tensor

from medaug.core.runs import RunDir
from medaug.core.seeding import SeedTree
from medaug.core.storage import atomic_path
from medaug.engine.checkpoint import State
from medaug.engine.watch import LivingLearner, VitalSigns

SAMPLES = "samples.png"
EARLIER = "samples"  # folder of the same at several steps

_SCALE = 2


def write_sheet(path: Path, rows: list[Float[Tensor, "N C *S"]], window: tuple[float, float]) -> None:
    """Write rows of patches as one grey PNG; the first channel, and in 3D the middle slice.

    Args:
        path: File to write.
        rows: One stack of patches a row, of equal length.
        window: Normalised values shown black and white.
    """
    lines = [np.concatenate([_tile(patch, window) for patch in row], axis=1) for row in rows]
    with atomic_path(path) as temporary:
        png.imsave(temporary, np.concatenate(lines, axis=0), cmap="gray", vmin=0, vmax=1)


def shown_range(images: Float[Tensor, "N C *S"]) -> tuple[float, float]:
    """Normalised values to show black and white: the middle 98% of the first channel of some patches."""
    low, high = np.percentile(images[:, 0].numpy(), (1, 99))
    return float(low), float(high)


def _tile(patch: Float[Tensor, "C *S"], window: tuple[float, float]) -> Float[np.ndarray, "H W"]:
    plane = patch[0].detach().float().cpu().numpy()
    if plane.ndim == 3:
        plane = plane[..., plane.shape[2] // 2]
    shown = np.clip((plane - window[0]) / (window[1] - window[0]), 0, 1)
    large = np.kron(np.rot90(shown), np.ones((_SCALE, _SCALE)))
    return np.pad(large, 1, constant_values=1.0)


class SampledLearner(Protocol):
    """A learner that can show what it has learnt."""

    @property
    def shown(self) -> tuple[float, float]:
        """Normalised values to show black and white."""
        ...

    def samples(self, seed: SeedTree) -> list[Float[Tensor, "N C *S"]]:
        """Rows of patches to look at."""
        ...

    def train_step(self, step: int) -> dict[str, float]:
        """See :class:`medaug.engine.loop.Learner`."""
        ...

    def state(self) -> State:
        """See :class:`medaug.engine.loop.Learner`."""
        ...

    def restore(self, state: State) -> None:
        """See :class:`medaug.engine.loop.Learner`."""
        ...


@final
class Watched:
    """A learner that draws a picture of samples after every so many steps."""

    def __init__(self, learner: SampledLearner, run: RunDir, seed: SeedTree, every: int) -> None:
        self._learner, self._run, self._seed, self._every = learner, run, seed.child("samples"), every

    def train_step(self, step: int) -> dict[str, float]:
        """One step, and after every so many steps a picture."""
        figures = self._learner.train_step(step)
        if (step + 1) % self._every == 0:
            self.picture(step + 1)
        return figures

    def picture(self, steps: int | None = None) -> None:
        """Write the samples of the kept weights; with a number of steps also one that later ones do not replace."""
        rows, shown = self._learner.samples(self._seed), self._learner.shown
        write_sheet(self._run.path / SAMPLES, rows, shown)
        if steps is not None:
            write_sheet(self._run.path / EARLIER / f"step_{steps:06d}.png", rows, shown)

    def vital_signs(self, step: int) -> VitalSigns:
        """The learner's, where it can tell them."""
        return self._learner.vital_signs(step) if isinstance(self._learner, LivingLearner) else VitalSigns()

    def state(self) -> State:
        """The learner's."""
        return self._learner.state()

    def restore(self, state: State) -> None:
        """The learner's."""
        self._learner.restore(state)
