"""A self-signed certificate for a relay that speaks TLS."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import msgspec
import pytest


class Certificate(msgspec.Struct, frozen=True):
    """A certificate that nobody trusts by itself, and its key."""

    path: Path
    """PEM; a client that is to trust it takes it as the file of its authorities."""
    key: Path

    def server(self) -> ssl.SSLContext:
        """Make what a `Relay` is given."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path, self.key)
        return context


def self_signed(folder: Path, *, name: str = "IP:127.0.0.1") -> Certificate:
    """Make a certificate for a name (`IP:...` or `DNS:...`) with `openssl`; skips the test where there is none."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
    command += ["-subj", "/CN=a test", "-days", "2", "-addext", f"subjectAltName={name}"]
    done = subprocess.run(
        [*command, "-out", str(made.path), "-keyout", str(made.key)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return made
