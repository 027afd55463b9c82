"""Features from a network that the user brings, as a TorchScript file."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medaug.core.errors import ConfigError, DataError
from medaug.core.storage import sha256_file

SIZE = (64, 64)
_SIZE_FILE = "size"
_AT_ONCE = 64
_MOST = 1 << 14  # features


@final
class Extractor:
    """Turns lesions into features by a TorchScript file, on the CPU.

    The file is given (N, C, *S) float32: the lesions' windows in normalised units (HU: 0 at -400 HU, 500 HU a unit; else
    zero mean and unit deviation in the body), channels as in the dataset. S is 64 x 64, the slice where the lesion is
    largest; another size of two or three axes stands in the file itself, saved with
    ``torch.jit.save(net, path, _extra_files={"size": "[32, 32, 16]"})``. It returns (N, F).

    A TorchScript file is a program: bring only one that you trust.

    Args:
        path: The file.

    Raises:
        ConfigError: If it is no TorchScript file, or names a size that is none.
    """

    def __init__(self, path: Path) -> None:
        named = {_SIZE_FILE: ""}
        try:
            with warnings.catch_warnings():
                # torch wants another format in the future; files of this one stay in use
                warnings.simplefilter("ignore", DeprecationWarning)
                self._net = torch.jit.load(str(path), map_location="cpu", _extra_files=named).eval()
        except (RuntimeError, ValueError, OSError) as error:
            hint = "save it with torch.jit.script(net).save(FILE)"
            raise ConfigError("file holds no TorchScript network", where="extractor", hint=hint) from error
        self.size = _size_of(named[_SIZE_FILE])
        self.sha256 = sha256_file(path)

    def features(self, images: Float[np.ndarray, "N C *S"]) -> Float[np.ndarray, "N F"]:
        """Features of lesions, float64, not standardised.

        Args:
            images: Windows of :attr:`size` in normalised units; at least one.

        Raises:
            DataError: If the network fails on them, or does not return (N, F) finite values, F at most 16,384.
        """
        rows = [self._some(some) for some in torch.from_numpy(images).split(_AT_ONCE)]
        return torch.cat(rows).numpy()

    def _some(self, images: Tensor) -> Tensor:
        shape = "x".join(map(str, images.shape))
        try:
            with torch.inference_mode():
                found = self._net(images)
        except RuntimeError as error:
            what = f"fails on {shape} float32: {str(error).strip().splitlines()[-1]}"
            hint = "it is given (N, C, *S): channels and size must suit it"
            raise DataError(what, where="extractor", hint=hint) from error
        if (
            not isinstance(found, Tensor)
            or found.ndim != 2
            or len(found) != len(images)
            or not 0 < found.shape[1] <= _MOST
        ):
            what = "x".join(map(str, found.shape)) if isinstance(found, Tensor) else type(found).__name__
            expected = f"{len(images)} rows of 1 to {_MOST} features"
            raise DataError(f"returns {what} for {shape}", where="extractor", expected=expected)
        if not bool(torch.isfinite(found).all()):
            raise DataError("returns values that are not finite", where="extractor")
        return found.double()


def _size_of(text: str | bytes) -> tuple[int, ...]:
    """The size that the file names, or the usual one."""
    if not text:
        return SIZE
    expected = "two or three whole numbers from 8 to 256, such as [64, 64]"
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ConfigError("its size is no JSON", where="extractor", expected=expected) from error
    if (
        not isinstance(found, list)
        or len(found) not in (2, 3)
        or not all(isinstance(n, int) and 8 <= n <= 256 for n in found)
    ):
        raise ConfigError(f"its size is {found}", where="extractor", expected=expected)
    return tuple(found)
