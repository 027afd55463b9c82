"""Classes as coded terms (PS3.3 8.8): of SNOMED CT or DICOM where one says the same, else of medaug's own scheme."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from medaug.core.errors import ConfigError, LabelError

SCHEME: Final = "99MEDAUG"
CATEGORY: Final = Code("49755003", "SCT", "Morphologically Abnormal Structure")
_LESION: Final = Code("52988006", "SCT", "Lesion")
_NODULE: Final = Code("27925004", "SCT", "Nodule")
_MASS: Final = Code("4147007", "SCT", "Mass")
_NEOPLASM: Final = Code("108369006", "SCT", "Neoplasm")
_METASTASIS: Final = Code("14799000", "SCT", "Neoplasm, Secondary")
_OPAQUE: Final = Code("112120", "DCM", "Ground glass opacity")
# PS3.16 CID 6102, 7159 and 7151; nothing but another word for the same thing stands here
_KNOWN: Final = {
    "lesion": _LESION,
    "solid": _NODULE,
    "nodule": _NODULE,
    "ground glass": _OPAQUE,
    "ground glass opacity": _OPAQUE,
    "ggo": _OPAQUE,
    "micronodule": Code("112122", "DCM", "Micronodule"),
    "mass": _MASS,
    "tumor": _NEOPLASM,
    "tumour": _NEOPLASM,
    "neoplasm": _NEOPLASM,
    "metastasis": _METASTASIS,
    "edema": Code("79654002", "SCT", "Edema"),
    "oedema": Code("79654002", "SCT", "Edema"),
    "necrosis": Code("6574001", "SCT", "Necrosis"),
    "hemorrhage": Code("50960005", "SCT", "Hemorrhage"),
    "haemorrhage": Code("50960005", "SCT", "Hemorrhage"),
    "cyst": Code("367643001", "SCT", "Cyst"),
    "abscess": Code("44132006", "SCT", "Abscess"),
    "embolus": Code("55584005", "SCT", "Embolus"),
    "thrombus": Code("396339007", "SCT", "Thrombus"),
}
_STATED = re.compile(
    r"(?P<scheme>[A-Z0-9]{1,16}):(?P<value>[A-Za-z0-9.\-]{1,16})(?::(?P<meaning>[^\\:]{1,64}))?"
)
_LO_LENGTH = 64
_HASH_DIGITS = 15

Terms = Mapping[str, Code]


def parse_terms(text: str) -> dict[str, Code]:
    """``"plaque=SCT:1522000:plaque,odd=99ACME:17"`` as the codes of classes; without a meaning the class is its own.

    Raises:
        ConfigError: If it is not of that form, or a class stands twice.
    """
    terms: dict[str, Code] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, stated = (piece.strip() for piece in part.partition("="))
        match = _STATED.fullmatch(stated)
        if not name or match is None or name in terms:
            raise ConfigError(
                f"{part!r} gives no class its code",
                where="--class-codes",
                expected="such as nodule=SCT:27925004:Nodule, each class once",
            )
        terms[name] = Code(match["value"], match["scheme"], match["meaning"] or name)
    return terms


def check_terms(terms: Terms, classes: Sequence[str]) -> None:
    """Raise where a class that is given a code is none of a dataset.

    Raises:
        ConfigError: If one is none.
    """
    for name in terms:
        if name not in classes:
            expected = ", ".join(classes) or "none, the dataset has no classes"
            raise ConfigError(f"no class is called {name}", where="--class-codes", expected=expected)


def term_of(name: str, stated: Terms) -> Code:
    """The coded type of a class.

    A class without a known term gets one of :data:`SCHEME`, whose code follows from the name: the same in every object.

    Args:
        name: Of the class.
        stated: Codes that go before those known here.

    Raises:
        LabelError: If the name cannot stand in a header (PS3.5 6.2, LO).
    """
    if not name.strip() or len(name) > _LO_LENGTH or "\\" in name or not name.isprintable():
        expected = f"at most {_LO_LENGTH} printable characters without a backslash"
        raise LabelError("a class has a name that DICOM cannot hold", expected=expected, hint="rename it")
    if name in stated:
        return stated[name]
    known = _KNOWN.get(" ".join(re.split(r"[\s_\-]+", name.strip().lower())))
    digest = hashlib.sha256(name.encode("utf-8")).hexdigest().upper()
    return known or Code(f"C{digest[:_HASH_DIGITS]}", SCHEME, name)


def schemes_of(terms: Iterable[Code]) -> list[Dataset]:
    """Items of Coding Scheme Identification Sequence (PS3.3 C.12.1) for schemes that are no standard's."""
    items = []
    for scheme in sorted(
        {term.scheme_designator for term in terms if term.scheme_designator.startswith("99")}
    ):
        item = Dataset()
        item.CodingSchemeDesignator = scheme
        item.CodingSchemeName = "medaug lesion classes" if scheme == SCHEME else "Local"
        if scheme == SCHEME:
            item.CodingSchemeResponsibleOrganization = "medaug"
        items.append(item)
    return items
