"""What a report must not say, whatever text it comes in with."""

from __future__ import annotations

from pathlib import Path

import pytest

from glimp_local.privacy import without_names


@pytest.fixture(autouse=True)
def somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "jane")
    monkeypatch.setattr("platform.node", lambda: "janes-laptop")


def test_the_home_folder_is_a_tilde(home: Path) -> None:
    assert without_names(f"{home}/models/a.gguf: no such file") == "~/models/a.gguf: no such file"
    assert without_names(str(home)) == "~"
    assert without_names(f"{home}2/a.gguf") == f"{home}2/a.gguf"


def test_a_home_folder_behind_a_link_is_a_tilde_by_both_names(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "link"
    link.symlink_to(home)
    monkeypatch.setenv("HOME", str(link))
    assert without_names(f"{link}/a {home}/b") == "~/a ~/b"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("/mnt/jane/a.gguf", "/mnt/<name>/a.gguf"),
        ("/net/janes-laptop/jane", "/net/<name>/<name>"),
        ("D:\\jane\\a.gguf", "D:\\<name>\\a.gguf"),
        ("the word jane, /janet/x and /x/jane.gguf stay", "the word jane, /janet/x and /x/jane.gguf stay"),
        ("http://me:secret@proxy.example:3128/", "…@proxy.example:3128/"),
        ("write to jane.doe+x@mail.example.org.", "write to <e-mail>."),
        ("token hf_abcdefghijklmnopqrstuvwxyz012345 here", "token <token> here"),
    ],
)
def test_names_addresses_and_secrets_are_taken_out(text: str, clean: str) -> None:
    assert without_names(text) == clean


def test_values_inside_values_are_cleaned_and_numbers_stay(home: Path) -> None:
    assert without_names({"a": [f"{home}/x", 1, None], "b": {"c": True}}) == {"a": ["~/x", 1, None], "b": {"c": True}}
