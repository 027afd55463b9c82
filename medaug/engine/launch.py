"""Where a model runs: the device, the number format, and how several processes train one model.

Under ``torchrun`` every process draws its own part of each batch, gradients are averaged after every backward pass
(:func:`average_gradients`), and so are the figures that are logged. All processes hold the same weights at every step;
the first one alone writes. A process alone is a team of one, for which all of this is nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar, final

import torch
from jaxtyping import Int
from torch import distributed

from medaug.core.errors import ConfigError
from medaug.core.seeding import SeedTree

T = TypeVar("T")


def pick_device(name: str) -> torch.device:
    """The device of that name: ``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ConfigError: If the name is unknown or the GPU is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in {"cpu", "cuda"} and not (name.startswith("cuda:") and name[5:].isdigit()):
        raise ConfigError(f"unknown device {name!r}", where="--device", expected="auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"{name} is not here", where="--device", hint="use --device cpu")
    return device


def mixed_precision(device: torch.device) -> AbstractContextManager[None]:
    """bfloat16 where a GPU computes in it, float32 elsewhere."""
    return autocast(device, torch.bfloat16 if _has_bfloat16(device) else torch.float32)


def training_format(device: torch.device) -> torch.dtype:
    """bfloat16 where a GPU computes in it, float16 on an older one, float32 on the CPU.

    Gradients in float16 vanish unless the loss is scaled (``torch.amp.GradScaler``).
    """
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if _has_bfloat16(device) else torch.float16


def autocast(device: torch.device, number_format: torch.dtype) -> AbstractContextManager[None]:
    """Compute in that format where it loses little; nothing changes for float32."""
    lower = number_format is not torch.float32
    return torch.autocast(device.type, dtype=number_format if lower else torch.bfloat16, enabled=lower)


def _has_bfloat16(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def memory_format(spatial_dims: int) -> torch.memory_format:
    """channels_last for 2D and 3D: the faster layout for convolutions on CPU and GPU."""
    return torch.channels_last if spatial_dims == 2 else torch.channels_last_3d


@final
@dataclass(frozen=True, slots=True)
class Team:
    """The processes that train one model.

    Attributes:
        rank: Which of them this is; 0 leads and is the only one to write.
        size: How many they are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def share(self, batch_size: int) -> int:
        """Samples of a batch that this process draws.

        Raises:
            ConfigError: If the batch cannot be divided evenly.
        """
        if batch_size % self.size:
            raise ConfigError(
                f"a batch of {batch_size} cannot be shared by {self.size} processes",
                where="batch_size",
                expected=f"a multiple of {self.size}",
            )
        return batch_size // self.size

    def places(self, batch_size: int) -> range:
        """Which places of a batch are this process's, every so many-th: what is dealt in turns is shared evenly.

        Raises:
            ConfigError: If the batch cannot be divided evenly.
        """
        self.share(batch_size)
        return range(self.rank, batch_size, self.size)

    def rows(self, batch_size: int) -> Int[torch.Tensor, " _"]:
        """Which samples of a batch that all draw alike are this process's: then the losses are those of one alone."""
        count = self.share(batch_size)
        return torch.arange(self.rank * count, (self.rank + 1) * count)

    def stream(self, seed: SeedTree) -> SeedTree:
        """This process's own part of a step's randomness, where each draws its samples itself; all of it for one alone."""
        return seed if self.size == 1 else seed.child("process", self.rank)


def team() -> Team:
    """The team that this process is in."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return Team()
    return Team(distributed.get_rank(), distributed.get_world_size())


@contextmanager
def joined() -> Iterator[Team]:
    """Join the other processes where ``torchrun`` started this one; NCCL between GPUs, Gloo between CPUs.

    Raises:
        ConfigError: If they do not find each other, or there are more processes here than GPUs.
    """
    if not (distributed.is_available() and distributed.is_torchelastic_launched()):
        yield Team()
        return
    backend = "gloo"
    if torch.cuda.is_available():
        backend, lane = "nccl", distributed.get_node_local_rank(fallback_rank=0)
        if lane >= torch.cuda.device_count():
            raise ConfigError("torchrun started more processes than there are GPUs", where="--nproc-per-node")
        torch.cuda.set_device(lane)
    try:
        distributed.init_process_group(backend)
    except (RuntimeError, ValueError) as error:
        hint = "start them with `torchrun --standalone --nproc-per-node N -m medaug ...`"
        raise ConfigError("the processes of torchrun do not find each other", hint=hint) from error
    try:
        yield team()
    finally:
        distributed.destroy_process_group()


@contextmanager
def own_folder(out: Path, team: Team) -> Iterator[Path]:
    """The run folder; for all but the first process of a team one that is thrown away."""
    if team.leads:
        yield out
        return
    with TemporaryDirectory(prefix="medaug-") as scratch:
        yield Path(scratch) / "run"


def shared(value: T) -> T:
    """The first process's value, in all of them."""
    if team().size == 1:
        return value
    box = [value]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace gradients by their mean over the team; call it between ``backward`` and the optimiser's step.

    The mean of the parts' gradients is the gradient of the whole batch wherever the loss is a mean over samples.
    """
    size = team().size
    if size == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    distributed.all_reduce(flat)
    parts = (flat / size).split([g.numel() for g in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def averaged(figures: Mapping[str, float]) -> dict[str, float]:
    """Named figures, each the mean over the team; the names must be the same in all processes."""
    size = team().size
    if size == 1:
        return dict(figures)
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    sums = torch.tensor([*figures.values()], dtype=torch.float64, device=device)
    distributed.all_reduce(sums)
    return dict(zip(figures, (sums / size).tolist(), strict=True))
