"""What a renderer is asked for and what it makes: orders, hosts, prepared lesions, finished cases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from medaug.core.case import Case
from medaug.core.intensity import CaseScale
from medaug.core.lesion import Blending, LesionRequest
from medaug.core.plan import Use
from medaug.core.volume import Mask
from medaug.lesions.blend import Feather
from medaug.lesions.body import Body
from medaug.lesions.place import AUTO
from medaug.lesions.shape_source import ShapeKind


@final
@dataclass(frozen=True, slots=True)
class Order:
    """One lesion that is wanted.

    Attributes:
        class_name: Its class.
        diameter_mm: Allowed range; None = as in the bank.
        use: ``new`` = into healthy tissue; ``swap`` = a lesion of another class that the host has is drawn as this class, in its
            own outline; ``null`` = healthy tissue of the host is pasted where the lesion would go, blended like one and labelled
            as what it is, so that a seam tells nothing.
        contrast: Factor of the difference between the lesion and the tissue around it; None = as drawn.
        sharpness: Below 1 the lesion's edge is blurred, above it is steeper; None = as drawn.
        site_mm: The lesion's centre goes here, RAS+; None = wherever there is room.
        room_mm: The place has room for this diameter, whatever the lesion's: sizes of one sweep share it.
    """

    class_name: str
    diameter_mm: tuple[float, float] | None = None
    use: Use = "new"
    contrast: float | None = None
    sharpness: float | None = None
    site_mm: tuple[float, float, float] | None = None
    room_mm: float | None = None


@final
@dataclass(frozen=True, slots=True, eq=False)
class HostView:
    """A host, or a slab of it, with what was computed on the whole case.

    Attributes:
        case: The host's voxels and labels.
        scale: Map of the whole case to normalised units.
        body: The body in the host.
    """

    case: Case
    scale: CaseScale
    body: Body


@final
@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A lesion with its place, not yet drawn; of a null paste, the texture is the healthy tissue."""

    host: Case
    request: LesionRequest
    edge: Feather
    order: Order


@final
@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """A host with one new lesion.

    Attributes:
        case: The whole host grid; ``origin`` is synthetic.
        edit_mask: (I, J, K) voxels that may differ from the host; all others are bit-identical.
        site_mm: Centre of the lesion, RAS+.
        diameter_mm: Of the ball of the lesion's volume (of the disc of its area in a host of one slice).
        donor_patient_ids: Whose mask and texture were used.
        class_name: Class of the lesion.
        blending: How it was blended.
    """

    case: Case
    edit_mask: Mask
    site_mm: tuple[float, float, float]
    diameter_mm: float
    donor_patient_ids: tuple[str, ...]
    class_name: str
    blending: Blending


@final
@dataclass(frozen=True, slots=True)
class Finish:
    """How lesions are put into their hosts.

    Attributes:
        blending: ``poisson`` blends every lesion so; ``feather`` leaves it to the generator.
        match_noise: Add the noise that the host has more than the drawn patch.
        shapes: Where outlines come from: bank masks bent a little, or shapes that the bank's lesions have taught.
        tissue: Where lesions may sit: ``auto`` keeps to the organ that the bank's lesions live in, ``body`` to none; ``lung``,
            ``brain``, or a class of the label map that marks an organ, keeps to that.
    """

    blending: Blending = "feather"
    match_noise: bool = False
    shapes: ShapeKind = "bank"
    tissue: str = AUTO
