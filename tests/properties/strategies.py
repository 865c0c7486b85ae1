"""What the property tests draw from. The same examples each time, so that CI does not waver."""

import re
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from inventory_api.kit.json import INT_MAX, INT_MIN
from inventory_api.kit.text import CANONICAL_MAX, canonical
from inventory_api.metadata.schemas import KEY_PATTERN

# A function's fixtures serve all of its examples: each example makes rows of its own.
_OPTIONS: dict[str, Any] = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
pure = settings(max_examples=300, **_OPTIONS)
over_http = settings(max_examples=50, **_OPTIONS)

NASTY = (
    " ",
    "  two spaces  ",
    "\t\n\r\v\f\x1c\x1f\x7f",
    "\u0085\u2028\u2029",
    "\u00a0\u3000\u200b\ufeff",
    "e\u0301 é \u1e9b\u0323",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 👍🏽",
    "\U0001d160\U0010ffff",
    "\uffff\ufffe\ufdd0\ufffd",
    "\u202eabc\u202c \u2066x\u2069",
    "שלום ١٢٣ हिन्दी ไทย 한국",
    "ẞß ﬁ İıſ K Ω Å ǅ",
    "ﷺ",
    "'\"`\\/%_;--<script>&amp;{}$[].:#",
    "NULL null None true 0 1e5 NaN",
    "2026-01-31T09:30:00Z",
    "507f1f77bcf86cd799439011",
    '{"$oid": "507f1f77bcf86cd799439011"}',
    "\x01\x02\x1b[31m",
)
_characters = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")


def texts(max_size: int, *, visible: bool = False) -> st.SearchStrategy[str]:
    """Any text that is accepted.

    Args:
        visible: whether it has to be more than blanks, and its canonical form storable.
    """
    nasty = st.lists(st.sampled_from(NASTY), min_size=1, max_size=3).map("".join)
    text = st.one_of(
        st.text(_characters, min_size=visible, max_size=max_size),
        nasty.map(lambda joined: joined[:max_size]),
    )
    if not visible:
        return text
    return text.filter(lambda drawn: 0 < len(canonical(drawn)) <= CANONICAL_MAX)


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


keys = st.one_of(
    st.from_regex(re.compile(KEY_PATTERN, re.ASCII), fullmatch=True),
    st.sampled_from(["a", "A", "version", "deleted", "name", "type", "constructor"]),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(INT_MIN, INT_MAX),
    st.sampled_from([0, 2**31, 2**53 + 1, INT_MAX, INT_MIN]),
    st.floats(allow_nan=False, allow_infinity=False),
    texts(100),
)
specifications = st.dictionaries(
    keys,
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=8,
    ),
    max_size=6,
)
metadata_texts = {
    "care_instructions": optional(texts(400)),
    "seo_title": optional(texts(150)),
    "seo_description": optional(texts(300)),
    "vendor_notes": optional(texts(400)),
}
tags = st.lists(texts(50, visible=True), max_size=4, unique=True)
metadata = st.fixed_dictionaries({"tags": tags, "specifications": specifications, **metadata_texts})
