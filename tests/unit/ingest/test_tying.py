"""Each annotation with the image it was drawn on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from medaug.ingest.tying import Candidate, tie
from medaug.io.drawings import Declared, Drawing

NONE: frozenset[str] = frozenset()
HEAD = Candidate("s1", "f1", frozenset({"h1", "h2", "h3"}))
BODY = Candidate("s2", "f2", frozenset({"b1", "b2"}))
TWIN = Candidate("s3", "f1", frozenset({"t1"}))
SEG = Drawing(Path("s"), False, (Declared(1, "a", ()), Declared(2, "b", ())), NONE, NONE, NONE, "p")


def _homes(drawing: Drawing, *candidates: Candidate) -> list[list[int]]:
    """The numbers that went to each candidate, and last those that went to none."""
    tied = tie([drawing], candidates)
    return [[d.number for one in drawn for d in one.declared] for drawn in (*tied.of, tied.left)]


def test_most_of_the_named_images_decide() -> None:
    drawing = replace(SEG, instance_uids=frozenset({"h1", "b1", "b2", "x"}), series_uids=frozenset({"s1"}))
    assert _homes(drawing, HEAD, BODY) == [[], [1, 2], []]


def test_series_decide_where_no_image_is_named() -> None:
    assert _homes(replace(SEG, series_uids=frozenset({"s2"})), HEAD, BODY) == [[], [1, 2], []]
    # several volumes of one series: nothing says which
    assert _homes(replace(SEG, series_uids=frozenset({"s2"})), BODY, BODY) == [[], [], [1, 2]]
    gone = replace(SEG, series_uids=frozenset({"s9"}), frame_of_reference_uids=frozenset({"f2"}))
    assert _homes(gone, HEAD, BODY) == [[], [], [1, 2]]


def test_the_only_image_of_a_frame_of_reference_is_taken() -> None:
    drawing = replace(SEG, frame_of_reference_uids=frozenset({"f1"}))
    assert _homes(drawing, HEAD, BODY) == [[1, 2], [], []]
    assert _homes(drawing, HEAD, TWIN) == [[], [], [1, 2]]
    assert _homes(SEG, HEAD) == [[], [1, 2]]


def test_regions_go_each_to_their_own_series() -> None:
    regions = (
        Declared(1, "a", (), frozenset({"h2"})),
        Declared(2, "b", (), frozenset({"b2"})),
        Declared(3, "c", (), frozenset({"x"})),
        Declared(4, "d", ()),
    )
    drawing = replace(SEG, declared=regions)
    assert _homes(drawing, HEAD, BODY) == [[1], [2], [3, 4]]
    listed = replace(drawing, instance_uids=frozenset({"h1", "h2", "b2", "x"}))
    assert _homes(listed, HEAD, BODY) == [[1, 3, 4], [2], []]


def test_what_declares_nothing_is_tied_as_a_whole() -> None:
    empty = replace(SEG, declared=(), instance_uids=frozenset({"b1"}))
    assert [len(drawn) for drawn in tie([empty], [HEAD, BODY]).of] == [0, 1]
    assert len(tie([replace(empty, instance_uids=NONE)], [HEAD]).left) == 1


def test_stacks_of_one_multi_frame_file_are_told_apart_by_place() -> None:
    low, high = np.diag([1.0, 1, 2, 1]), np.diag([1.0, 1, 2, 1])
    high[2, 3] = 100
    stacks = [Candidate("s", "f", frozenset({"u"}), affine, 5) for affine in (low, high)]
    drawing = replace(SEG, instance_uids=frozenset({"u"}))
    upper = replace(drawing, positions_mm=((0.0, 0, 102), (0.0, 0, 104)))
    assert _homes(upper, *stacks) == [[], [1, 2], []]
    between = replace(drawing, positions_mm=((0.0, 0, 101), (0.0, 0, 4), (0.0, 0, 8), (0.0, 0, 110)))
    assert _homes(between, *stacks[::-1]) == [[], [1, 2], []]
    # nothing tells them apart: the first one is taken, and reading it refuses what does not fit
    assert _homes(drawing, *stacks) == [[1, 2], [], []]
