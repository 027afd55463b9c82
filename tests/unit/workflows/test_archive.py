"""Which archive, and whether the options go together."""

from __future__ import annotations

import pytest

from medaug.core.errors import ConfigError
from medaug.io.dicomweb import DicomwebArchive
from medaug.io.dimse import DimseArchive
from medaug.workflows.archive import ArchiveOptions, open_archive


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "one archive"),
        ({"dicomweb": "https://a/", "dimse": "A@a:1"}, "one archive"),
        ({"dimse": "A@a:1", "token": "x"}, "token"),
        ({"dimse": "A@a:1", "calling_ae": ""}, "AE title"),
        ({"dimse": "A@a:1", "calling_ae": "x" * 17}, "AE title"),
        ({"dicomweb": "http://a/", "tls": True}, "not encrypted"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said), open_archive(ArchiveOptions.model_validate(options)):
        pass


def test_the_address_chooses_the_protocol() -> None:
    with open_archive(
        ArchiveOptions.model_validate({"dicomweb": "https://a/", "token": "secret"})
    ) as archive:
        assert isinstance(archive, DicomwebArchive)
        assert "secret" not in repr(archive)
    with open_archive(ArchiveOptions(dimse="A@[::1]:104", tls=True)) as archive:
        assert isinstance(archive, DimseArchive)
