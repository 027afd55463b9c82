"""Where a model runs: the device and the number format."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from medaug.core.errors import ConfigError


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
    """bfloat16 where a GPU offers it, float32 on the CPU."""
    usable = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=usable)


def memory_format(spatial_dims: int) -> torch.memory_format:
    """channels_last for 2D and 3D: the faster layout for convolutions on CPU and GPU."""
    return torch.channels_last if spatial_dims == 2 else torch.channels_last_3d
