"""The limits of metadata, up to the last step before each."""

from typing import Any

import pytest
from pydantic import ValidationError

from inventory_api.metadata.schemas import (
    EMPTY,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_KEYS,
    ProductMetadataInput,
    ProductMetadataUpdate,
    merged,
    replaced,
)


def nested(depth: int, *, lists: bool = False) -> dict[str, Any]:
    """Specifications that are so deep, the outermost object counted."""
    inner: Any = [] if lists else {}
    for _ in range(depth - 2):
        inner = [inner] if lists else {"a": inner}
    return {"a": inner}


def of_bytes(size: int) -> dict[str, Any]:
    """Specifications of exactly so many bytes as they are written: `{"a":"ä…"}`."""
    text = size - len('{"a":""}')
    return {"a": "ä" * (text // 2) + "x" * (text % 2)}


WITHIN: list[dict[str, Any]] = [
    {},
    {"a": None},
    {"A1_-" + "x" * 60: 1},
    nested(MAX_DEPTH),
    nested(MAX_DEPTH, lists=True),
    {f"k{number}": number for number in range(MAX_KEYS)},
    of_bytes(MAX_BYTES),
    {"a": [2**63 - 1, -(2**63), 1e308]},
]
BEYOND: list[tuple[dict[str, Any], str]] = [
    ({"": 1}, "specification_key"),
    ({"1a": 1}, "specification_key"),
    ({"_id": 1}, "specification_key"),
    ({"$set": 1}, "specification_key"),
    ({"a.b": 1}, "specification_key"),
    ({"a b": 1}, "specification_key"),
    ({"ä": 1}, "specification_key"),
    ({"a\n": 1}, "specification_key"),
    ({"x" * 65: 1}, "specification_key"),
    ({"a": [{"b": {"$c": 1}}]}, "specification_key"),
    (nested(MAX_DEPTH + 1), "specifications_depth"),
    (nested(MAX_DEPTH + 1, lists=True), "specifications_depth"),
    ({f"k{number}": number for number in range(MAX_KEYS + 1)}, "specifications_keys"),
    ({"a": [{f"k{number}": 0} for number in range(MAX_KEYS)]}, "specifications_keys"),
    (of_bytes(MAX_BYTES + 1), "specifications_size"),
]


def errors_of(caught: pytest.ExceptionInfo[ValidationError]) -> list[tuple[Any, str]]:
    return [(error["loc"], error["type"]) for error in caught.value.errors()]


class TestSpecifications:
    @pytest.mark.parametrize("specifications", WITHIN, ids=lambda value: str(value)[:30])
    def test_within_the_limits(self, specifications: dict[str, Any]) -> None:
        given = ProductMetadataInput.model_validate({"specifications": specifications})
        assert replaced(given) == EMPTY | {"specifications": specifications}

    @pytest.mark.parametrize(("specifications", "code"), BEYOND, ids=lambda value: str(value)[:30])
    def test_beyond_them(self, specifications: dict[str, Any], code: str) -> None:
        with pytest.raises(ValidationError) as caught:
            ProductMetadataInput.model_validate({"specifications": specifications})
        assert errors_of(caught) == [(("specifications",), code)]


class TestTags:
    def test_are_unique_as_they_are_written(self) -> None:
        given = ProductMetadataInput.model_validate({"tags": ["Oak", "oak"]})
        assert replaced(given)["tags"] == ["Oak", "oak"]
        with pytest.raises(ValidationError) as caught:
            ProductMetadataInput.model_validate({"tags": ["oak", "oak"]})
        assert errors_of(caught) == [(("tags",), "tags_unique")]

    @pytest.mark.parametrize("tag", ["", "  ", "\u3000", "x" * 51, "ﷺ" * 17, None, 5])
    def test_refuses_what_is_no_tag(self, tag: Any) -> None:
        with pytest.raises(ValidationError) as caught:
            ProductMetadataInput.model_validate({"tags": ["oak", tag]})
        ((place, _),) = errors_of(caught)
        assert place == ("tags", 1)


class TestMerged:
    def test_checks_the_result_and_not_the_patch(self) -> None:
        many = {f"k{number}": None for number in range(MAX_KEYS + 1)}
        patch = ProductMetadataUpdate.model_validate({"specifications": many})
        current = EMPTY | {"specifications": {"k0": 1, "kept": 2}}
        assert merged(current, patch) == EMPTY | {"specifications": {"kept": 2}}

    @pytest.mark.parametrize(("specifications", "code"), BEYOND, ids=lambda value: str(value)[:30])
    def test_refuses_a_result_beyond_the_limits(
        self, specifications: dict[str, Any], code: str
    ) -> None:
        patch = ProductMetadataUpdate.model_validate({"specifications": specifications})
        with pytest.raises(ValidationError) as caught:
            merged(EMPTY, patch)
        assert errors_of(caught) == [(("specifications",), code)]

    def test_leaves_the_empty_metadata_empty(self) -> None:
        patch = ProductMetadataUpdate.model_validate(
            {"tags": ["oak"], "specifications": {"a": {"b": 1}}}
        )
        merged(EMPTY, patch)
        assert EMPTY["tags"] == []
        assert EMPTY["specifications"] == {}
