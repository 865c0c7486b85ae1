"""If-Match and If-None-Match (RFC 9110)."""

from typing import Any

import pytest
from httpx import AsyncClient

from inventory_api.http.conditional import etag, is_current, require_match
from inventory_api.kit.errors import PreconditionFailed, PreconditionRequired
from tests.factories import create_category

CURRENT = [
    "*", " * ", '"3"', ' "3" ', '"3.5"', '"3.0"', '"7", "3"', '"7","3"', '"3", W/"9"', '"9", *'
]  # fmt: skip
STALE = [
    "", " ", ",", '"', '""', '"7"', "3", '"3', '3"', "'3'", 'W/"3"', 'w/"3"', '"33"', '"03"',
    '"7.3"', '".3"', '"3 "', '"-3"', '"7", W/"3"', '"٣"', "\x00", "null",
]  # fmt: skip


class TestRequireMatch:
    @pytest.mark.parametrize("if_match", CURRENT)
    def test_passes(self, if_match: str) -> None:
        require_match(if_match, 3)

    @pytest.mark.parametrize("if_match", STALE)
    def test_refuses_with_the_current_etag(self, if_match: str) -> None:
        with pytest.raises(PreconditionFailed) as refused:
            require_match(if_match, 3)
        assert refused.value.headers == {"ETag": '"3"'}

    def test_has_to_be_sent(self) -> None:
        with pytest.raises(PreconditionRequired):
            require_match(None, 3)


class TestIsCurrent:
    @pytest.mark.parametrize("tags", ["*", '"3"', 'W/"3"', '"7", "3"', ' "3" ,"7"'])
    def test_is(self, tags: str) -> None:
        assert is_current(tags, '"3"')

    @pytest.mark.parametrize("tags", [None, "", '"7"', "3", '"33"', '"3.5"', '"'])
    def test_is_not(self, tags: str | None) -> None:
        assert not is_current(tags, '"3"')

    def test_the_stock_counts_where_it_is_shown(self) -> None:
        assert etag(3, 5) == '"3.5"'
        assert is_current('"3.5"', etag(3, 5))
        assert not is_current('"3"', etag(3, 5))


class TestOverHttp:
    @pytest.mark.parametrize("if_match", ["*", '"1"', '"7", "1"', '"1.5"'])
    async def test_a_change_from_the_current_state(self, admin: AsyncClient, if_match: str) -> None:
        category = await create_category(admin)
        answer = await admin.patch(
            f"/api/categories/{category['id']}",
            json={"name": "New"},
            headers={"If-Match": if_match},
        )
        assert answer.status_code == 200

    @pytest.mark.parametrize("if_match", ['W/"1"', "1", '"2"', ""])
    async def test_a_change_from_another_state(self, admin: AsyncClient, if_match: str) -> None:
        category = await create_category(admin)
        path = f"/api/categories/{category['id']}"
        answer = await admin.patch(path, json={"name": "New"}, headers={"If-Match": if_match})
        assert answer.status_code == 412
        assert answer.headers["ETag"] == '"1"'
        assert (await admin.get(path)).json() == category

    async def test_the_etag_of_412_lets_the_next_try_pass(self, admin: AsyncClient) -> None:
        category: dict[str, Any] = await create_category(admin)
        path = f"/api/categories/{category['id']}"
        stale = await admin.patch(path, json={"name": "New"}, headers={"If-Match": '"9"'})
        fresh = {"If-Match": stale.headers["ETag"]}
        assert (await admin.patch(path, json={"name": "New"}, headers=fresh)).status_code == 200
