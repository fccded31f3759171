"""The address of a server and the key it asks for, as the user set them."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from glimp_local.errors import ConfigError, UsageError
from glimp_local.inputs import read_limited
from glimp_local.networks import is_near
from glimp_local.settings import ModelSource

SET_KEY = "set key_env, or key_file, of this model in your models.toml"
_MOST_KEY_BYTES = 10_000
_PORTS = range(1, 2**16)


class Address(msgspec.Struct, frozen=True):
    """Where a server is. Its key is no part of its text, so that no log or error shows it."""

    url: str
    """Without `/v1` and a slash at the end."""
    host: str
    port: int

    @property
    def is_encrypted(self) -> bool:
        """Is it spoken to through TLS?"""
        return self.url.startswith("https:")

    @property
    def place(self) -> str:
        """Host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def address(url: str) -> Address:
    """Check a server's URL; raises UsageError if it is none."""
    form = "give one like http://box:8000 or https://box.example:8443"
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError as error:
        raise UsageError(f"{url!r} is no address of a server: {error}", hint=form) from error
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "the address of a server holds no key or password",
            hint=SET_KEY,
        )
    is_blank = any(character.isspace() for character in parts.netloc)
    if parts.scheme not in {"http", "https"} or not host or is_blank or parts.query or parts.fragment:
        raise UsageError(f"{url!r} is no address of a server", hint=form)
    port = (443 if parts.scheme == "https" else 80) if port is None else port
    if port not in _PORTS:
        raise UsageError(f"{url!r} is no address of a server: its port is no number from 1 to 65535", hint=form)
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return Address(f"{parts.scheme}://{parts.netloc}{path}", host, port)


def key_of(source: ModelSource) -> str | None:
    """Return a server's key from where the user put it; raises ConfigError if it is not there."""
    if source.key_env is not None and source.key_file is not None:
        raise ConfigError("a server has one key: set key_env or key_file, not both")
    if source.key_env is not None:
        key = os.environ.get(source.key_env, "")
        what = "the environment variable that key_env names"  # unnamed: it may be a key that stands in the wrong place
    elif source.key_file is not None:
        path = Path(source.key_file).expanduser()
        try:
            key = read_limited(path, _MOST_KEY_BYTES, str(path), hint="a key is one line").decode()
        except OSError as error:
            raise ConfigError(f"{path}, which key_file names, cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}, which key_file names, is not text") from error
        what = f"{path}, which key_file names,"
    else:
        return None
    key = key.strip()
    if not key:
        raise ConfigError(f"{what} holds no key", hint="set it, or leave the setting out if the server asks for none")
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"{what} holds no key, but characters that no key has")
    return key


def warning(where: Address) -> str | None:
    """Return a warning if what is sent there can be read on the way; None if it cannot, or stays on a local network."""
    if where.is_encrypted or is_near(where.host):
        return None
    return (
        f"{where.place} is reached over the open network without encryption: whoever stands between can read the "
        "conversation and the key; use https, or a tunnel"
    )
