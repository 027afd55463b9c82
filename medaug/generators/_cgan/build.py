"""The generator's network, as the configuration asks for it."""

from __future__ import annotations

from medaug.generators._cgan.networks import LesionNet
from medaug.generators._cgan.plain import PlainNet
from medaug.generators._cgan.settings import Config

Net = LesionNet | PlainNet


def build_net(config: Config, channels: int, classes: int) -> Net:
    """The network for images of so many channels and a table of so many classes; weights are not yet drawn."""
    spec = config.net_spec(channels, classes)
    return PlainNet(spec) if config.backbone == "dcgan" else LesionNet(spec)
