"""MONAI's RetinaNet: known by its kind, but refused with the reason why it is not available."""

from __future__ import annotations

from typing import Literal, Never, final

from monai.apps.detection.networks.retinanet_network import resnet_fpn_feature_extractor
from monai.networks.nets.resnet import ResNet
from monai.utils.module import OptionalImportError

from medaug.core.errors import DependencyError
from medaug.tasks.base import TaskConfig


@final
class RetinaNetConfig(TaskConfig):
    """Settings of MONAI's RetinaNet (Lin et al., ICCV 2017): none, as long as it cannot be built."""

    kind: Literal["retinanet"] = "retinanet"

    def build(self, device: str = "auto") -> Never:  # noqa: ARG002  (as every task's)
        """Say why there is none.

        Raises:
            DependencyError: Always: its feature pyramid is torchvision's, which medaug does without.
        """
        raise DependencyError(
            f"MONAI's RetinaNet cannot be built: {_obstacle()}",
            where="task.network",
            hint="use kind: segmentation; `medaug evaluate` scores the candidates of any detector",
        )


def _obstacle() -> str:
    """What MONAI says when it is asked for the feature pyramid, in one line."""
    backbone = ResNet("basic", [1, 1, 1, 1], [4, 4, 4, 4], spatial_dims=2, n_input_channels=1)
    try:
        resnet_fpn_feature_extractor(backbone, spatial_dims=2, returned_layers=(1, 2))
    except OptionalImportError as error:
        return str(error).splitlines()[0].rstrip(".")
    return "medaug is neither built on torchvision nor tested with it"
