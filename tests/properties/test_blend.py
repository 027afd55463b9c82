"""Whatever is blended, voxels outside the edit mask keep every bit, and inputs are never changed."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medaug.lesions.blend import Feather, blend

SHAPE = (9, 8, 3)
VALUES = st.floats(-3000, 3000, width=32)


@settings(deadline=None, max_examples=60)
@given(
    host=hnp.arrays(np.float32, (2, *SHAPE), elements=VALUES),
    lesion=hnp.arrays(np.float32, (2, *SHAPE), elements=VALUES),
    mask=hnp.arrays(np.bool_, SHAPE),
    ramp=st.tuples(st.floats(-2, 1), st.floats(0.5, 4)),
    through_plane=st.floats(0.5, 6),
    how=st.sampled_from(["feather", "poisson", "grain"]),
)
def test_outside_the_edit_mask_every_bit_is_the_hosts(host, lesion, mask, ramp, through_plane, how):
    full, width = ramp
    before = host.copy()
    edge = Feather(full, full + width, through_plane)
    if how == "poisson":
        blended, edited = blend(host, lesion, mask, edge, "poisson")
    else:
        blended, edited = blend(host, lesion, mask, edge, keep_grain=how == "grain")
    assert blended[:, ~edited].tobytes() == before[:, ~edited].tobytes()
    assert host.tobytes() == before.tobytes()
    assert np.isfinite(blended).all()
    if how == "feather":
        low, high = np.minimum(host, lesion), np.maximum(host, lesion)
        assert (blended >= low - 1e-2).all()
        assert (blended <= high + 1e-2).all()
    if full + width > 0.5:
        assert edited[mask].all()
