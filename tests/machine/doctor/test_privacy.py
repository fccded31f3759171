"""What a report must not say, whatever text it comes in with."""

from __future__ import annotations

from pathlib import Path

import pytest

from glimp_local.machine.doctor.privacy import without_names


@pytest.fixture(autouse=True)
def somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "jane")
    monkeypatch.setattr("platform.node", lambda: "janes-laptop")


def test_the_home_folder_is_a_tilde(home: Path) -> None:
    assert without_names(f"{home}/models/a.gguf: no such file") == "~/models/a.gguf: no such file"
    assert without_names(str(home)) == "~"
    assert without_names(f"{home}2/a.gguf").endswith("/…/a.gguf")


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
        ("the word jane stays, and so does ~/janet/x", "the word jane stays, and so does ~/janet/x"),
        ("~/jane/a.gguf ~/jane-private/b", "~/<name>/a.gguf ~/<name>-private/b"),
        ("~/my_Jane.old/x ~/jane2/x ~/x/jane.gguf", "~/my_<name>.old/x ~/<name>2/x ~/x/<name>.gguf"),
        ("jane/private-GGUF/x.gguf is not here", "<name>/private-GGUF/x.gguf is not here"),
        ("/jane-x/a.gguf, /janes-laptop: no", "/<name>-x/a.gguf, /<name>: no"),
        ("https://hf.co/jane/x?a=b", "https://hf.co/<name>/x?a=b"),
        ("~root/a.gguf ~bob but ~/a, ~5 GB, a~b", "~<name>/a.gguf ~<name> but ~/a, ~5 GB, a~b"),
        ("http://u:p/w@host:80/", "…@host:80/"),
        ("http://u:p@w/@host https://hf.co/a@main", "…@host https://hf.co/a@main"),
        ("http://me:secret@proxy.example:3128/", "…@proxy.example:3128/"),
        ("write to jane.doe+x@mail.example.org.", "write to <e-mail>."),
        ("token hf_abcdefghijklmnopqrstuvwxyz012345 here", "token <token> here"),
    ],
)
def test_names_addresses_and_secrets_are_taken_out(text: str, clean: str) -> None:
    assert without_names(text) == clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("/home/bob/x.gguf, /home/bob: no", "/home/<name>/x.gguf, /home/<name>: no"),
        ("/home/bob/acme/x.gguf /home/shared-bob", "/home/<name>/…/x.gguf /home/<name>"),
        ("/var/home/bob@corp.example/x '/Users/bob'", "/var/home/<name>/… '/Users/<name>'"),
        ("C:\\Users\\bob\\a C:/Users/bob", "C:\\Users\\<name>\\… C:/Users/<name>"),
        ("C:\\Users\\Bob B. Brown\\a.gguf is no file", "C:\\Users\\<name>\\a.gguf is no file"),
        ("/Users/Shared/a.gguf C:\\Users\\Public /home/", "/Users/Shared/a.gguf C:\\Users\\Public /home/"),
    ],
)
def test_of_a_home_folder_of_somebody_else_nothing_is_shown(text: str, clean: str) -> None:
    assert without_names(text) == clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("/mnt/jane-private/a.gguf: no such file", "/mnt/…/a.gguf: no such file"),
        ("hub cache: /mnt/acme/hub (not there yet), 5 GB free", "hub cache: /mnt/… (not there yet), 5 GB free"),
        ("/srv/acme/the secret plan/model.gguf is damaged", "/srv/…/model.gguf is damaged"),
        ("'/srv/acme/x'; (/srv/acme/y/): PATH=/srv/z:/opt/z", "'/srv/…'; (/srv/…/): PATH=/srv/…:/opt/…"),
        ("/data /data/ / /data/.acme //host/acme", "/data /data/ / /data/… //host/…"),
        ("D:\\acme\\a.gguf E:/acme \\\\acme\\x\\a.gguf", "D:\\…\\a.gguf E:/… \\\\…\\a.gguf"),
        ("/opt/venv/site-packages/llama_cpp/libllama.so", "/opt/…/libllama.so"),
        ("/usr/lib/libcuda.so.1 and /dev/dxg", "/usr/lib/libcuda.so.1 and /dev/dxg"),
        ("C:\\Program Files\\x\\y.dll", "C:\\Program Files\\x\\y.dll"),
        ("5 tokens/s, 7/8, and/or, Qwen/Qwen3-4B/x.gguf", "5 tokens/s, 7/8, and/or, Qwen/Qwen3-4B/x.gguf"),
        ("x @ file:///srv/acme/x.whl FILE file:/srv/acme/y", "x @ file:///srv/…/x.whl FILE file:/srv/…"),
        ("file://localhost/srv/acme/x.whl", "file://localhost/srv/…/x.whl"),
        ("file:///C:/acme/x.whl file:///C:/Users/bob/x", "file:///C:/…/x.whl file:///C:/Users/<name>/…"),
        ("https://huggingface.co/Qwen/Qwen3-4B-GGUF", "https://huggingface.co/Qwen/Qwen3-4B-GGUF"),
    ],
)
def test_of_a_folder_outside_home_the_beginning_is_shown(text: str, clean: str) -> None:
    assert without_names(text) == clean


def test_a_path_that_is_known_is_found_whatever_it_is_called() -> None:
    odd = "/mnt/a, b: (the folder of acme and of all its friends)/x"
    assert (
        without_names(f"data: {odd}, 5 GB; {Path(odd).parent} is a file", [odd])
        == "data: /mnt/…, 5 GB; /mnt/… is a file"
    )
    assert without_names(f"{odd}y is another one", [odd]) != "/mnt/…y is another one"


@pytest.mark.parametrize("name", ["data", "models", "a", "q4", "Model", "root", "hub"])
def test_a_name_that_is_a_word_makes_no_nonsense(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: name)
    text = "~/data/models/a/models--Qwen--Qwen3/q4.gguf, ~/models.toml; n/a; https://huggingface.co/hub; /data /root"
    assert without_names(text) == text
    assert without_names(f"/home/{name}/x /mnt/{name}/y") == "/home/<name>/… /mnt/…"


def test_the_name_of_who_became_root_is_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "root")
    monkeypatch.setenv("SUDO_USER", "zoe")
    assert without_names("~/zoe-models/x") == "~/<name>-models/x"


def test_values_inside_values_are_cleaned_and_numbers_stay(home: Path) -> None:
    assert without_names({"a": [f"{home}/x", 1, None], "b": {"c": True}}) == {"a": ["~/x", 1, None], "b": {"c": True}}


@pytest.mark.parametrize("text", ["a" * 10**6, "/a b" * 10**5, "a.b+" * 10**5, "http://" * 20_000, "/home/" * 10**5])
def test_a_long_text_is_cleaned_like_a_short_one(text: str) -> None:
    assert without_names(text)  # a pattern that reads each word from each of its letters would take hours


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("large on box:8000: nothing listens there", "large on <server>:8000: nothing listens there"),
        ("http://box/v1, a box of tools, boxes, mybox:8000", "http://<server>/v1, a box of tools, boxes, mybox:8000"),
        ("not valid for 'gpu.corp.example'; gpu.corp.example.", "not valid for '<server>'; <server>."),
        (
            "GPU.Corp.Example:443 xgpu.corp.example gpu.corp.example.org",
            "<server>:443 xgpu.corp.example gpu.corp.example.org",
        ),
        ("10.1.2.3:80 110.1.2.3 10.1.2.34", "<server>:80 110.1.2.3 10.1.2.34"),
        ("[fd00::7]:8000 at fd00::7", "<server>:8000 at <server>"),
        ("localhost:8000 and 127.0.0.1:8000", "localhost:8000 and 127.0.0.1:8000"),
    ],
)
def test_of_a_server_the_port_is_shown(text: str, clean: str) -> None:
    hosts = ["box", "gpu.corp.example", "10.1.2.3", "fd00::7", "localhost", "127.0.0.1"]
    assert without_names(text, hosts=hosts) == clean
