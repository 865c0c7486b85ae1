"""The contract and its explorer, served from here alone."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from fastapi import FastAPI
from httpx import AsyncClient

from inventory_api.http import docs, openapi

ASSETS = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "init.js": "text/javascript; charset=utf-8",
}
OUTSIDE = re.compile(r"(?:https?:)?//[a-z0-9]", re.IGNORECASE)


class Page(HTMLParser):
    """What a page loads, and what a strict policy would keep from running."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.inline: list[str] = []
        self._element = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._element = tag
        for name, value in attrs:
            if name in ("src", "href"):
                self.loads.append(str(value))
            if name == "style" or name.startswith("on"):
                self.inline.append(name)

    def handle_data(self, data: str) -> None:
        if self._element in ("script", "style") and data.strip():
            self.inline.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._element = ""


class TestPage:
    async def test_loads_only_from_here_under_a_strict_policy(self, anonymous: AsyncClient) -> None:
        answer = await anonymous.get("/docs")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        (policy,) = answer.headers.get_list("Content-Security-Policy")
        directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
        assert directives["default-src"] == "'none'"
        assert directives["script-src"] == directives["style-src"] == "'self'"
        assert directives["connect-src"] == "'self'"
        assert directives["frame-ancestors"] == directives["base-uri"] == "'none'"
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        page = Page(answer.text)
        assert page.inline == []
        assert {link for link in page.loads if link != "data:,"} == {
            f"/docs/{name}" for name in ASSETS
        }
        assert not OUTSIDE.search(answer.text)

    async def test_everything_that_it_loads_is_there(self, anonymous: AsyncClient) -> None:
        for link in Page((await anonymous.get("/docs")).text).loads:
            if link.startswith("/"):
                assert (await anonymous.get(link)).status_code == 200

    async def test_the_script_names_no_other_host(self, anonymous: AsyncClient) -> None:
        script = (await anonymous.get("/docs/init.js")).text
        assert '"/openapi.json"' in script
        assert "validatorUrl: null" in script
        assert not OUTSIDE.search(re.sub(r"^\s*//.*$", "", script, flags=re.MULTILINE))

    async def test_is_not_in_the_contract(self, app: FastAPI) -> None:
        assert app.openapi()["paths"]
        assert not [path for path in app.openapi()["paths"] if path.startswith("/docs")]


class TestAssets:
    @pytest.mark.parametrize(("name", "media_type"), ASSETS.items())
    async def test_known_names(self, anonymous: AsyncClient, name: str, media_type: str) -> None:
        answer = await anonymous.get(f"/docs/{name}")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == media_type
        assert answer.content == (Path(docs.__file__).parent / "swagger_ui" / name).read_bytes()

    @pytest.mark.parametrize(
        "name",
        [
            "", "index.html", "LICENSE", "NOTICE", "README.md", "docs.py", "..%2fdocs.py",
            "..%2f..%2fsettings.py", "%2e%2e/docs.py", "../docs.py", "init.js%00", "INIT.JS",
            "init.js/", "swagger_ui%2finit.js", "%2fetc%2fpasswd", "init.js%20",
        ],
    )  # fmt: skip
    async def test_404_for_every_other(self, anonymous: AsyncClient, name: str) -> None:
        answer = await anonymous.get(f"/docs/{name}")
        assert answer.status_code == 404
        assert answer.json()["code"] == "not_found"


class TestContract:
    async def test_json_and_yaml_are_the_same_document(
        self, app: FastAPI, anonymous: AsyncClient
    ) -> None:
        in_json = await anonymous.get("/openapi.json")
        in_yaml = await anonymous.get("/openapi.yaml")
        assert in_json.headers["Content-Type"] == "application/json"
        assert in_yaml.headers["Content-Type"] == "application/yaml"
        assert in_json.json() == yaml.load(in_yaml.text, yaml.CSafeLoader) == app.openapi()
        assert in_yaml.text == openapi.to_yaml(app.openapi())

    @pytest.mark.parametrize("path", ["/openapi.json", "/openapi.yaml"])
    async def test_304(self, anonymous: AsyncClient, path: str) -> None:
        first = await anonymous.get(path)
        etag = first.headers["ETag"]
        assert re.fullmatch(r'"[0-9a-f]+"', etag)
        for tags in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            answer = await anonymous.get(path, headers={"If-None-Match": tags})
            assert answer.status_code == 304
            assert answer.content == b""
            assert answer.headers["ETag"] == etag
        for tags in ('"other"', etag.strip('"'), f"x{etag}"):
            answer = await anonymous.get(path, headers={"If-None-Match": tags})
            assert answer.status_code == 200

    async def test_json_and_yaml_have_etags_of_their_own(self, anonymous: AsyncClient) -> None:
        tags = {
            (await anonymous.get(f"/openapi.{kind}")).headers["ETag"] for kind in ("json", "yaml")
        }
        assert len(tags) == 2

    async def test_is_written_once(
        self, anonymous: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = await anonymous.get("/openapi.yaml")
        monkeypatch.setattr(openapi, "to_yaml", None)
        assert (await anonymous.get("/openapi.yaml")).content == first.content
