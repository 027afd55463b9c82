"""The same names give the same randomness, whatever ran before."""

from medaug.core.seeding import SeedTree


def test_children_do_not_depend_on_order() -> None:
    tree = SeedTree(3)
    first = tree.child("render", "a").rng().random(4).tolist()
    tree.child("render", "b").rng().random(100)
    assert tree.child("render", "a").rng().random(4).tolist() == first


def test_names_and_roots_matter() -> None:
    seeds = {
        SeedTree(r).child(*names).seed for r in (0, 1) for names in ((), ("a",), ("a", "b"), ("ab",), (1,))
    }
    assert len(seeds) == 10
    assert SeedTree(0).child("a").child("b") == SeedTree(0).child("a", "b")
