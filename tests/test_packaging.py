"""The wheel: what is in it, and that what it names as the public interface is there."""

import subprocess
import sys
import zipfile
from pathlib import Path

import glimp_local

ROOT = Path(__file__).parents[1]


def test_the_wheel_carries_the_catalogue_and_the_types(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert archive.read("glimp_local/models.toml") == (ROOT / "models.toml").read_bytes()
    assert "glimp_local/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]
    assert f"glimp_local-{glimp_local.__version__}" in wheel.name


def test_the_public_names_are_there() -> None:
    for name in glimp_local.__all__:
        assert getattr(glimp_local, name)
    assert not hasattr(glimp_local, "nothing_like_it")


def test_importing_the_package_imports_no_llama_cpp() -> None:
    code = "import sys, glimp_local; print('llama_cpp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_no_file_is_named_by_more_than_one_commit_hash() -> None:
    text = (ROOT / "models.toml").read_text()
    assert text.count("[pairs.") == 3 * text.count("description = ")


def test_only_the_engine_imports_llama_cpp() -> None:
    users = {
        path.relative_to(ROOT).parts[:2]
        for path in (ROOT / "glimp_local").rglob("*.py")
        if "import llama_cpp" in path.read_text() or "from llama_cpp" in path.read_text()
    }
    assert users == {("glimp_local", "engine")}
