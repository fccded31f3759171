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
        ("/home/bob/x.gguf, /home/bob: no", "/home/<name>/x.gguf, /home/<name>: no"),
        ("/var/home/bob@corp/x '/Users/bob'", "/var/home/<name>/x '/Users/<name>'"),
        ("C:\\Users\\bob\\a C:/Users/bob", "C:\\Users\\<name>\\a C:/Users/<name>"),
        ("C:\\Users\\Bob B. Brown\\a is no file", "C:\\Users\\<name>\\a is no file"),
        (
            "/Users/Shared/a C:\\Users\\Public\\a /home/ /homes/a",
            "/Users/Shared/a C:\\Users\\Public\\a /home/ /homes/a",
        ),
        ("/home/shared-bob/a", "/home/<name>/a"),
        ("'~root/a' ~bob but ~/a, ~5 GB, a~b", "'~<name>/a' ~<name> but ~/a, ~5 GB, a~b"),
        ("http://u:p/w@host:80/", "…@host:80/"),
        ("http://u:p@w/@host https://hf.co/a@main", "…@host https://hf.co/a@main"),
        ("http://me:secret@proxy.example:3128/", "…@proxy.example:3128/"),
        ("write to jane.doe+x@mail.example.org.", "write to <e-mail>."),
        ("token hf_abcdefghijklmnopqrstuvwxyz012345 here", "token <token> here"),
    ],
)
def test_names_addresses_and_secrets_are_taken_out(text: str, clean: str) -> None:
    assert without_names(text) == clean


def test_values_inside_values_are_cleaned_and_numbers_stay(home: Path) -> None:
    assert without_names({"a": [f"{home}/x", 1, None], "b": {"c": True}}) == {"a": ["~/x", 1, None], "b": {"c": True}}
