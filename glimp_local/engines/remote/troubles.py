"""What keeps a server from being used, in words, with what to do. The key it was sent stands in none of them."""

from __future__ import annotations

import socket
import ssl

import httpx2
import msgspec

from glimp_local.errors import ServerError, ServerTrouble
from glimp_local.text import one_line

_MOST_REASON = 300
"""Characters of a server's own words that are shown."""
_UNKNOWN = {400, 404, 405, 501}
"""What servers answer that do not know a path."""
_GATEWAYS = {502, 504}
_REDIRECTS = {301, 302, 303, 307, 308}
_FULL_WORDS = ("maximum context length", "context size", "context length", "input_tokens")


class Troubles:
    """Words for the failures of one server. `timeout` is the longest silence, in seconds."""

    def __init__(self, place: str, key: str | None, *, timeout: float) -> None:
        self._place = place
        self._key = key
        self._timeout = timeout

    def error(self, words: str, why: ServerTrouble, hint: str | None = None) -> ServerError:
        """Return an error of this server."""
        return ServerError(f"{self._place}: {words}", hint=hint, why=why)

    def _scrubbed(self, content: bytes) -> bytes:
        """Return a reply without the key, however it is spelled there."""
        if self._key is None:
            return content
        return content.replace(self._key.encode(), b"***").replace(msgspec.json.encode(self._key)[1:-1], b"***")

    def of_connection(self, error: httpx2.HTTPError) -> ServerError:
        """Return the error that a failed connection is."""
        cause: BaseException | None = error
        while cause is not None:
            if (found := self._cause(cause)) is not None:
                return found
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, httpx2.ConnectTimeout):
            return self.error("does not answer", "unreachable", "is the machine on, and the port open?")
        if isinstance(error, httpx2.ConnectError):
            return self.error(f"cannot be reached: {_reason(error)}", "unreachable", "check the address")
        if isinstance(error, httpx2.TimeoutException):
            return self.error(f"no sign of life for {self._timeout:g} seconds", "silent", "give it more with `timeout`")
        return self.error(f"the connection was lost ({_reason(error)})", "lost")

    def _cause(self, cause: BaseException) -> ServerError | None:
        """Return the error that the system, or TLS, gives for a connection that could not be made."""
        match cause:
            case ssl.SSLError():
                return self._tls(cause)
            case socket.gaierror():
                return self.error("there is no machine of this name", "unreachable", "check the address")
            case ConnectionRefusedError():
                return self.error("nothing listens there", "unreachable", "is the server running, on this port?")
        return None

    def _tls(self, error: ssl.SSLError) -> ServerError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return self.error(
                f"its certificate cannot be trusted: {error.verify_message}",
                "refused",
                "name the authority's certificate in the environment variable SSL_CERT_FILE",
            )
        return self.error(
            f"no encrypted connection ({error.reason or error})", "refused", "does it speak https? else use http://"
        )

    def of_reply(self, status: int, content: bytes) -> ServerError:
        """Return the error that a reply is."""
        words, kind = _words(self._scrubbed(content))
        text = f"{words} {kind}".lower()
        if status in {401, 403}:
            hint = (
                "set key_env, or key_file, of this model in your models.toml" if self._key is None else "check the key"
            )
            return self.error("it asks for a key" if self._key is None else "it refuses the key", "key", hint)
        if status == httpx2.codes.SERVICE_UNAVAILABLE:
            return self.error("it is still loading its model", "loading", "try again in a moment")
        if status == httpx2.codes.BAD_REQUEST and any(one in text for one in _FULL_WORDS):
            return self.error(words, "full")
        if status in _GATEWAYS:
            return self.error(f"the gateway before it cannot reach it (status {status})", "lost")
        if status in _REDIRECTS:
            return self.error("it sends elsewhere, and no redirect is followed", "refused", "set that address as url")
        why: ServerTrouble = "unknown" if status in _UNKNOWN else "refused"
        return self.error(f"{words or 'no reason given'} (status {status})", why)


def _words(content: bytes) -> tuple[str, str]:
    """Return a server's reason, and what kind of error it calls it."""
    try:
        found = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return one_line(content[:_MOST_REASON].decode("utf-8", "replace")), ""
    kind = ""
    for key in ("error", "detail", "message"):
        if isinstance(found, dict) and key in found:
            kind = f"{kind} {found.get('type', '')} {found.get('param', '')}"
            found = found[key]
    return one_line(str(found))[:_MOST_REASON], kind


def _reason(error: Exception) -> str:
    return one_line(str(error)) or type(error).__name__
