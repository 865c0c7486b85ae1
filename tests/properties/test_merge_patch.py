"""PATCH equals RFC 7396, where a member may be null: against a model written from its text."""

import json
from copy import deepcopy
from typing import Any

from httpx import AsyncClient
from hypothesis import given
from hypothesis import strategies as st

from inventory_api.kit.merge_patch import merge
from tests.factories import MERGE_PATCH, create_product
from tests.properties.strategies import (
    metadata,
    metadata_texts,
    optional,
    over_http,
    pure,
    scalars,
    tags,
    texts,
)

ANY = MERGE_PATCH | {"If-Match": "*"}
EMPTY: dict[str, Any] = {
    "tags": [],
    "specifications": {},
    "care_instructions": None,
    "seo_title": None,
    "seo_description": None,
    "vendor_notes": None,
}

# Few keys, so that a patch meets what is there.
_keys = st.sampled_from(["a", "b", "c"])
_trees = st.dictionaries(
    _keys,
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_keys, inner, max_size=3),
        max_leaves=10,
    ),
    max_size=3,
)
metadata_patches = st.fixed_dictionaries(
    {}, optional={"tags": tags, "specifications": _trees, **metadata_texts}
)
product_patches = st.fixed_dictionaries(
    {},
    optional={
        "name": texts(150, visible=True),
        "description": optional(texts(200)),
        "unit": texts(16, visible=True),
        "reorder_level": st.integers(0, 2**31 - 1),
        "expiry_date": optional(st.dates().map(str)),
        "status": st.sampled_from(["active", "inactive"]),
        "cost_price": st.integers(0, 10**12 - 1).map(
            lambda cents: f"{cents // 100}.{cents % 100:02}"
        ),
        "metadata": optional(metadata_patches),
    },
)


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396 section 2, line by line."""
    if isinstance(patch, dict):
        if not isinstance(target, dict):
            target = {}
        for name, value in patch.items():
            if value is None:
                if name in target:
                    del target[name]
            else:
                target[name] = merge_patch(target.get(name), value)
        return target
    return patch


def patched_metadata(before: dict[str, Any], patch: Any) -> dict[str, Any]:
    """A member that is gone is the empty one."""
    return EMPTY | (merge_patch(deepcopy(before), patch) or {})


def patched_product(before: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    after: dict[str, Any] = merge_patch(deepcopy(before), patch)
    for name in ("description", "expiry_date"):
        after.setdefault(name, None)
    after["metadata"] = EMPTY | after.get("metadata", {})
    return after


def same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@pure
@given(
    target=st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner)
    ),
    patch=st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner)
    ),
)
def test_merge_is_the_rfcs_and_changes_neither_argument(target: Any, patch: Any) -> None:
    before = deepcopy((target, patch))
    assert same(merge(target, patch), merge_patch(deepcopy(target), patch))
    assert (target, patch) == before


@over_http
@given(
    start=st.fixed_dictionaries({}, optional={"specifications": _trees, "tags": tags}) | metadata,
    patches=st.lists(metadata_patches, min_size=1, max_size=3),
)
async def test_of_metadata(
    admin: AsyncClient, start: dict[str, Any], patches: list[dict[str, Any]]
) -> None:
    product = await create_product(admin, metadata=start)
    path = f"/api/products/{product['id']}/metadata"
    state, version = product["metadata"], 1
    assert same(state, EMPTY | start)
    for patch in patches:
        expected = patched_metadata(state, patch)
        version += not same(expected, state)
        answer = await admin.patch(path, json=patch, headers=ANY)
        assert answer.status_code == 200, answer.text
        assert same(answer.json(), expected)
        assert answer.headers["ETag"] == f'"{version}"'
        read = await admin.get(path)
        assert same(read.json(), expected)
        assert read.headers["ETag"] == f'"{version}"'
        state = expected


@over_http
@given(patches=st.lists(product_patches, min_size=1, max_size=3))
async def test_of_a_product(admin: AsyncClient, patches: list[dict[str, Any]]) -> None:
    state = await create_product(
        admin,
        description="Solid oak.",
        metadata={"specifications": {"a": {"b": 1}, "c": None}, "seo_title": "Oak"},
    )
    path = f"/api/products/{state['id']}"
    for patch in patches:
        expected = patched_product(state, patch)
        answer = await admin.patch(path, json=patch, headers=ANY)
        assert answer.status_code == 200, answer.text
        changed = answer.json()
        if same(expected, state):
            assert changed == state
        else:
            assert changed["updated_at"] > state["updated_at"]
            expected |= {"version": state["version"] + 1, "updated_at": changed["updated_at"]}
        assert same(changed, expected)
        assert answer.headers["ETag"] == f'"{changed["version"]}"'
        assert same((await admin.get(path)).json(), expected)
        state = changed
