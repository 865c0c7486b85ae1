"""Canonical forms: what makes two texts "the same" for uniqueness and search."""

import unicodedata

CANONICAL_MAX = 300
"""Longest canonical form that is stored, in code points (an indexed utf8mb4 column)."""


def canonical(text: str) -> str:
    """Fold case, compatibility forms and surrounding space away.

    Python decides this, not the database's collation: MySQL's, MariaDB's and SQLite's differ
    (some hold all emoji equal, some drop accents), and an account must not depend on that.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFKC", folded).strip()


def search_key(text: str) -> str:
    """A canonical form cut to what is stored; for sorting and searching, never for uniqueness."""
    return canonical(text)[:CANONICAL_MAX]
