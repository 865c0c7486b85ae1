"""What is the same text, and what is not."""

import pytest

from inventory_api.kit.text import CANONICAL_MAX, canonical, search_key


class TestCanonical:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("Kit", " kIT\t"),
            ("Straße", "STRASSE"),
            ("é", "e\u0301"),
            ("ﬁne", "FINE"),
            ("ＡＢＣ１", "abc1"),
            ("ΣΑΣ", "σας"),
            ("K", "k"),
            ("ß\u0301", "sś"),
        ],
    )
    def test_the_same(self, one: str, other: str) -> None:
        assert canonical(one) == canonical(other)

    @pytest.mark.parametrize(
        ("one", "other"),
        [("José", "Jose"), ("😀", "😁"), ("a b", "ab"), ("a  b", "a b"), ("ı", "i"), ("o", "ø")],
    )
    def test_not_the_same(self, one: str, other: str) -> None:
        assert canonical(one) != canonical(other)

    def test_of_blanks_nothing_is_left(self) -> None:
        assert canonical(" \t\u00a0\u3000\u2028\x85") == ""


def test_a_search_key_is_cut_to_what_is_stored() -> None:
    assert search_key("ﷺ" * 150) == canonical("ﷺ" * 150)[:CANONICAL_MAX]
    assert len(canonical("ﷺ" * 150)) > CANONICAL_MAX
