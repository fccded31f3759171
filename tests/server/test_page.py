"""The page of `glimp serve` as a browser gets it: files, headers, keys. `page/` has its use."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path

import pytest

import glimp_local.server.page
from tests.server.conftest import Serve, Served

pytestmark = pytest.mark.process

FOLDER = Path(glimp_local.server.page.__file__).with_suffix("")
PATHS = glimp_local.server.page.PATHS


def status_of(served: Served, path: str) -> int:
    """Ask for a path exactly as it stands: clients tidy it otherwise."""
    with socket.create_connection(("127.0.0.1", served.port)) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return int(client.makefile("rb").readline().split()[1])


def test_each_file_of_the_page_is_served_with_its_type_and_the_strict_policy(served: Served) -> None:
    assert set(PATHS.values()) == {path.name for path in FOLDER.iterdir()}
    types = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    for path, name in PATHS.items():
        reply = served.get(path)
        assert (reply.status_code, reply.content) == (200, (FOLDER / name).read_bytes()), path
        assert reply.headers["content-type"] == f"{types[name.rsplit('.', 1)[1]]}; charset=utf-8"
        assert reply.headers["content-security-policy"] == (
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["cache-control"] == "no-cache"


def test_a_file_that_has_not_changed_is_not_sent_again(served: Served) -> None:
    tag = served.get("/page/page.js").headers["etag"]
    again = served.get("/page/page.js", **{"if-none-match": f'"other", W/{tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert served.get("/page/page.js", **{"if-none-match": '"other"'}).status_code == 200
    assert served.get("/page/page.css").headers["etag"] != tag


@pytest.mark.parametrize(
    "path",
    [
        "/page/../app.py",
        "/page/%2e%2e/app.py",
        "/page/..%2fapp.py",
        "/page/..\\app.py",
        "/page//etc/passwd",
        "/page/%2fetc%2fpasswd",
        "/page/page.js%00.css",
        "/page/",
        "/page/index.html",
        "/page.py",
    ],
)
def test_no_path_reaches_any_other_file(served: Served, path: str) -> None:
    assert status_of(served, path) in {400, 404}
    assert status_of(served, "/page/page.js") == 200


def test_the_page_names_no_address_but_its_own_and_nothing_inline() -> None:
    for path in FOLDER.iterdir():
        text = path.read_text(encoding="utf-8")
        addresses = re.findall(r"(?:https?:)?//[a-z0-9][a-z0-9.-]+\.[a-z]+", text)
        assert set(addresses) <= {"http://www.w3.org"}, path.name  # the name of SVG, which nobody fetches
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert word not in text, path.name
    page = (FOLDER / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\bstyle=|<script>|\son\w+=", page)
    assert set(re.findall(r'(?:src|href)="([^"]+)"', page)) <= set(PATHS)


def test_the_page_needs_no_key_and_what_it_asks_does(serving: Serve) -> None:
    served = serving("--api-key", "secret")
    for path in PATHS:
        assert served.get(path).status_code == 200
    assert served.get("/v1/models").status_code == 401
    assert served.get("/page/nothing").status_code == 401
    assert served.get("/v1/models", authorization="Bearer secret").status_code == 200


def test_by_an_address_of_the_network_the_page_may_ask_and_others_may_not(serving: Serve) -> None:
    served = serving("--host", "0.0.0.0", "--no-auth")
    here = f"192.168.7.8:{served.port}"
    body = {"messages": [{"role": "user", "content": "How many steps are there?"}]}
    for origin, status in ((f"http://{here}", 200), ("http://192.168.7.9", 403), ("http://evil.example", 403)):
        assert served.post("/v1/chat/completions", body, host=here, origin=origin).status_code == status
    rebound = {"host": "evil.example", "origin": "http://evil.example"}
    assert served.post("/v1/chat/completions", body, **rebound).status_code == 403


def test_open_gives_the_page_s_address_to_the_browser(
    serving: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, browser = tmp_path / "opened", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > "{opened}.new" && mv "{opened}.new" "{opened}"\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    served = serving("--open")
    assert f"chat in the browser: {served.url}/\n" in served.said
    for _ in range(500):
        if opened.exists():
            break
        time.sleep(0.02)
    assert opened.read_text() == f"{served.url}/\n"


def test_open_says_in_words_that_there_is_no_browser(serving: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER", "/nowhere/browser")
    served = serving("--open")
    for _ in range(500):
        if any("no browser could be opened" in line for line in served.said):
            break
        time.sleep(0.02)
    assert f"glimp: no browser could be opened here; the page is at {served.url}/\n" in served.said
    assert served.get("/health").status_code == 200
