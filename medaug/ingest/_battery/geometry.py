"""Checks of where the voxels of a case lie."""

from __future__ import annotations

import numpy as np

from medaug.core.findings import Code, Finding, finding
from medaug.core.geometry import Grid

_ANISOTROPY = 10.0
_VOXEL_MM = (0.05, 15.0)
# a microscope's image is smaller, a whole-body PET almost as long
_EXTENT_MM = (10.0, 2500.0)
_SHEAR = 0.01


def check_anisotropy(grid: Grid, case_id: str) -> Finding | None:
    """``anisotropic``: slices ten times wider apart than the pixels in them."""
    spacing = _shown_spacing(grid)
    ratio = max(spacing) / min(spacing)
    if ratio <= _ANISOTROPY:
        return None
    message = (
        f"voxels of {_sizes(grid.spacing_mm)} mm are {ratio:.0f} times longer than wide; check the spacing"
    )
    return finding(Code.ANISOTROPIC, "flagged", message, case_id)


def check_voxel_size(grid: Grid, case_id: str) -> Finding | None:
    """``voxel-size``: no scanner of patients makes voxels below 0.05 mm or above 15 mm."""
    spacing = _shown_spacing(grid)
    if _VOXEL_MM[0] <= min(spacing) and max(spacing) <= _VOXEL_MM[1]:
        return None
    message = f"voxels are {_sizes(grid.spacing_mm)} mm; expected {_VOXEL_MM[0]:g} to {_VOXEL_MM[1]:g}; check the spacing"
    return finding(Code.VOXEL_SIZE, "flagged", message, case_id)


def check_field_of_view(grid: Grid, case_id: str) -> Finding | None:
    """``field-of-view``: the longest side covers less than 10 mm or more than 2.5 m."""
    longest = max(
        n * s for n, s in zip(grid.shape, grid.spacing_mm, strict=True) if n > 1 or max(grid.shape) == 1
    )
    if _EXTENT_MM[0] <= longest <= _EXTENT_MM[1]:
        return None
    message = (
        f"image is {longest:.4g} mm long; expected {_EXTENT_MM[0]:g} to {_EXTENT_MM[1]:g}; check the spacing"
    )
    return finding(Code.FIELD_OF_VIEW, "flagged", message, case_id)


def check_shear(grid: Grid, case_id: str) -> Finding | None:
    """``sheared-grid``: two axes are more than half a degree off the perpendicular."""
    cosines = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    off = float(np.abs(cosines.T @ cosines - np.eye(3)).max())
    if off <= _SHEAR:
        return None
    degrees = float(np.degrees(np.arcsin(min(off, 1.0))))
    message = (
        f"axes are {degrees:.1f} degrees off the perpendicular; resample image and label onto an upright grid"
    )
    return finding(Code.SHEARED_GRID, "refused", message, case_id)


def _shown_spacing(grid: Grid) -> list[float]:
    """Spacing along the axes that have neighbours; one slice has no spacing to the next."""
    spacing = [s for n, s in zip(grid.shape, grid.spacing_mm, strict=True) if n > 1]
    return spacing or list(grid.spacing_mm)


def _sizes(spacing_mm: tuple[float, float, float]) -> str:
    """Three sizes in words."""
    return " x ".join(f"{size:.3g}" for size in spacing_mm)
