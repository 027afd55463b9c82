"""The archive that `medaug pull` and `medaug push` talk to, as the command line names it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import final

from pydantic import Field, SecretStr

from medaug.core.config import Frozen
from medaug.core.errors import ConfigError
from medaug.io.pacs import Access, Archive, Tls


@final
class ArchiveOptions(Frozen):
    """Where an archive is, and how to get in."""

    dicomweb: str | None = Field(default=None, description="https://HOST:PORT/PATH of a DICOMweb service")
    dimse: str | None = Field(default=None, description="AE@HOST:PORT of an application entity")
    tls: bool = False
    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    token: SecretStr | None = None
    calling_ae: str = Field(default="MEDAUG", description="our own AE title")
    timeout_s: float = Field(default=30.0, gt=0)
    retries: int = Field(default=3, ge=0)

    @property
    def address(self) -> str:
        """Where it is, in one word."""
        return self.dicomweb or self.dimse or ""


def open_archive(options: ArchiveOptions) -> AbstractContextManager[Archive]:
    """Connect by the protocol that the address is of.

    Raises:
        ConfigError: If there is not exactly one address, or an option does not go with it.
        DependencyError: If the package for this protocol is not installed.
    """
    if (options.dicomweb is None) == (options.dimse is None):
        raise ConfigError("name one archive", expected="either --dicomweb URL or --dimse AE@HOST:PORT")
    title = options.calling_ae
    if not 0 < len(title) <= 16 or not title.isascii() or not title.isprintable() or "\\" in title:
        raise ConfigError("is no AE title", where="--aet", expected="1 to 16 ASCII characters")
    files = (options.ca_file, options.client_cert, options.client_key)
    access = Access(
        tls=Tls(*files) if options.tls or any(files) else None,
        token=options.token.get_secret_value() if options.token else "",
        calling_ae=title,
        timeout_s=options.timeout_s,
        retries=options.retries,
    )
    if options.dicomweb is not None:
        from medaug.io import dicomweb

        return dicomweb.connect(options.dicomweb, access)
    if access.token:
        raise ConfigError(
            "DIMSE knows no token", where="--token-file", hint="use --client-cert or --dicomweb"
        )
    from medaug.io import dimse

    return dimse.connect(options.dimse or "", access)
