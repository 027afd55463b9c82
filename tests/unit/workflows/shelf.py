"""An archive in memory, for tests of what pull and push do with it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydicom.dataset import FileDataset

from medaug.core.errors import DataError, MedaugError
from medaug.io.pacs import Answer, Instance, Level, Stored
from tests.unit.io.series import CT, instance, stored_values


@dataclass
class Shelf:
    """Holds files by series; ``trouble`` says what happens to an instance instead of an answer."""

    series: dict[str, list[bytes]] = field(default_factory=dict)
    trouble: dict[str, MedaugError | bytes] = field(default_factory=dict)
    stored: list[str] = field(default_factory=list)
    fetched: int = 0

    def put(self, uid: str, count: int) -> list[str]:
        """Put a series onto the shelf; gives its SOPInstanceUIDs."""
        slices = [instance(values, n, CT, uid) for n, values in enumerate(stored_values(count))]
        self.series[uid] = [content(one) for one in slices]
        return [str(one.SOPInstanceUID) for one in slices]

    def find(self, level: Level, keys: Mapping[str, str]) -> Iterator[Answer]:
        """Everything at a level."""
        for uid in self.series:
            first = instance(stored_values(1)[0], 0, CT, uid)
            study = {"StudyInstanceUID": str(first.StudyInstanceUID), "PatientID": "PAT-4711"}
            if level is Level.STUDY:
                yield Answer(study)
            elif keys["StudyInstanceUID"] == study["StudyInstanceUID"] and level is Level.SERIES:
                yield Answer(study | {"SeriesInstanceUID": uid, "Modality": "CT"})
            elif keys.get("SeriesInstanceUID") == uid:
                for number in range(len(self.series[uid])):
                    one = instance(stored_values(1)[0], number, CT, uid)
                    yield Answer({"SOPInstanceUID": str(one.SOPInstanceUID), "SOPClassUID": CT})

    def fetch(self, instance_: Instance) -> bytes:
        """The file, or the trouble with it."""
        self.fetched += 1
        trouble = self.trouble.get(instance_.sop_instance_uid)
        if isinstance(trouble, MedaugError):
            raise trouble
        files = self.series[instance_.series_uid]
        return trouble or next(one for one in files if instance_.sop_instance_uid.encode() in one)

    def store(self, dataset: FileDataset) -> Stored:
        """Take it, or refuse it."""
        trouble = self.trouble.get(str(dataset.SOPInstanceUID))
        if isinstance(trouble, MedaugError):
            raise trouble
        self.stored.append(str(dataset.SOPInstanceUID))
        return "warned" if trouble else "accepted"

    @contextmanager
    def opened(self, _: object) -> Iterator[Shelf]:
        """In place of a connection."""
        yield self


REFUSED = DataError("archive refuses the instance (status 404)")


def content(dataset: FileDataset) -> bytes:
    """A data set as a file."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
