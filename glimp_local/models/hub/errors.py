"""What goes wrong between this machine and the Hugging Face hub, said in words and with the next thing to do.

Knows the library's and the HTTP client's exceptions. No message holds a token or a signed address.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import (  # type: ignore[attr-defined] # not in an __all__
    hf_raise_for_status,
    parse_ratelimit_headers,
)

from glimp_local import units
from glimp_local.errors import DownloadError
from glimp_local.text import one_line

_PASSING = {408, 429, 500, 502, 503, 504}
_LONGEST_WAIT_SECONDS = 300
"""The hub counts requests in windows of five minutes."""
_LONGEST_WARNING = 300
_YEAR_SECONDS = 365 * 86400
_ELSEWHERE = ("HF_ENDPOINT", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
_LOG_IN = "hf auth login (or set HF_TOKEN)"


class TooSlowError(httpx2.ReadError):
    """What is downloaded comes too slowly ever to be whole."""


def raise_for_status(response: httpx2.Response) -> None:
    """Raise the library's error of a status; what the hub writes with it is not read: it may be anything."""
    if response.is_error:
        of_body = {"content-encoding", "content-length", "transfer-encoding"}
        kept = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in of_body]
        hf_raise_for_status(httpx2.Response(response.status_code, headers=kept, request=response.request))


class _OneLine(logging.Filter):
    """What the hub has the library warn of, harmless to a terminal."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = one_line(record.getMessage())[:_LONGEST_WARNING], ()
        return True


for _handler in logging.getLogger("huggingface_hub").handlers:
    _handler.addFilter(_OneLine())


def is_passing(error: Exception) -> bool:
    """May the same request succeed in a moment?"""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in _PASSING and (_retry_after(error) or 0) <= _LONGEST_WAIT_SECONDS
    is_of_transport = isinstance(error, httpx2.TransportError) and not isinstance(error, httpx2.UnsupportedProtocol)
    return is_of_transport and not _leads_astray(error)


def _leads_astray(error: Exception) -> bool:
    """Has a redirect no address to lead to? The client has no type for that."""
    return isinstance(error, httpx2.RemoteProtocolError) and "location header" in str(error)


def wait_asked_for(error: Exception | None) -> float | None:
    """Give the seconds that the hub wants to be left alone for."""
    return _retry_after(error) if isinstance(error, HfHubHTTPError) else None


def understood(
    error: Exception, repo: str, file: str | None, revision: str | None, files: Sequence[str] = ()
) -> DownloadError:
    """Say in words what an exception of the library or of its client means, and what to do.

    `files` are those of the repository, for somebody who misspelt one.
    """
    if isinstance(error, DownloadError):
        return error
    page = f"{endpoint()}/{repo}"
    match error:
        case OfflineModeIsEnabled():
            message, hint = "HF_HUB_OFFLINE is set, so nothing can be downloaded", "unset HF_HUB_OFFLINE"
        case UnicodeEncodeError():
            message, hint = "the token holds characters that no token has", f"check HF_TOKEN, or: {_LOG_IN}"
        case HFValidationError():
            message, hint = f"{repo!r} is no name of a repository", "expected MAKER/NAME, as in Qwen/Qwen3-4B-GGUF"
        case RevisionNotFoundError():
            message = f"{repo} has no revision {revision}: its history was rewritten"
            hint = f"pin another one in models.toml; see {page}"
        case RemoteEntryNotFoundError():
            close = difflib.get_close_matches(file or "", files, n=1, cutoff=0.5)
            message = f"{repo} has no file {file}" + (f" (did you mean {close[0]!r}?)" if close else "")
            hint = f"its files: {', '.join(files)}" if files else f"see {page}"
        case TooSlowError():
            message, hint = f"{_host()} is too slow: {error}", "try again later, or over another connection"
        case HfHubHTTPError():
            message, hint = _of_status(error, repo, page, f"{repo}/{file}" if file else repo)
        case _:
            message, hint = _of_connection(error)
    return DownloadError(one_line(_bare(message)), hint=one_line(hint))


def endpoint() -> str:
    """Give the hub's address, without the user and the password that may stand in it."""
    return _bare(constants.ENDPOINT)


def _bare(text: str) -> str:
    return re.sub(r"(^|://)[^/\s]*@", r"\1", text)


def _pointed_to() -> str:
    """Name the variables that send requests elsewhere than to the hub."""
    names = [name for name in _ELSEWHERE if os.environ.get(name) or os.environ.get(name.lower())]
    return ", ".join([*names, "the connection; proxies are taken from HTTPS_PROXY"])


def _of_connection(error: Exception) -> tuple[str, str]:
    host = _host()
    match error:
        case httpx2.RemoteProtocolError() if _leads_astray(error):
            return f"{host} redirects to an invalid address: {error}", f"try again later; check {_pointed_to()}"
        case httpx2.UnsupportedProtocol() | httpx2.InvalidURL() | ValueError() | ImportError():
            hint = f"check HF_ENDPOINT ({endpoint()}), HTTPS_PROXY and HTTP_PROXY"
            return f"the hub could not be asked: {error}", hint
        case httpx2.ProxyError():
            return f"the proxy does not let {host} be reached: {error}", "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
        case httpx2.TimeoutException():
            hint = "check the connection; HF_HUB_DOWNLOAD_TIMEOUT is how many seconds are waited for it"
            return f"{host} does not answer", hint
        case httpx2.ConnectError():
            return f"{host} cannot be reached: {error}", f"check {_pointed_to()}"
        case _:
            return f"the connection to {host} was cut: {error}", "check the connection"


def _of_status(error: HfHubHTTPError, repo: str, page: str, asked: str) -> tuple[str, str]:
    host = _host(error)
    status = error.response.status_code
    match error, status:
        case GatedRepoError(), _:
            message = f"{repo} is gated: its maker wants the licence to be accepted first"
            way = "with the account of your token" if get_token() else f"then: {_LOG_IN}"
            hint = f"accept it at {page}, {way}"
        case RepositoryNotFoundError(), _:
            message = f"the hub has no repository {repo}, or it is private"
            hint = f"check its name; for a private one: {_LOG_IN}"
        case _, 401:
            message = f"{host} does not accept the token (401)"
            hint = f"{_LOG_IN}; an HF_TOKEN that is set counts first"
        case _, 403:
            message, hint = f"{host} does not give {repo} to you (403)", f"see {page}, and what your token may do"
        case _, 404:
            message = f"{host} has no such file or repository (404): {asked}"
            hint = f"check the name; see {page}"
        case _, 429:
            message = f"{host} has had too many requests from here (429)"
            hint = f"try again {_later(_retry_after(error))}; a token is allowed more"
        case _:
            message = f"{host} is in trouble ({status} {error.response.reason_phrase})"
            hint = f"try again {_later(_retry_after(error))}"
    return message, hint


def _retry_after(error: HfHubHTTPError) -> float | None:
    """Return how long the hub asks to be left alone for; it says so in one of three ways."""
    headers = error.response.headers
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    limit = parse_ratelimit_headers(headers)
    if limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    aware = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def _later(seconds: float | None) -> str:
    """Write when to come back."""
    if not seconds or seconds > _YEAR_SECONDS:
        return "later"
    return f"in {units.time_left(seconds)}"


def _host(error: HfHubHTTPError | None = None) -> str:
    """Name who answered, or should have; a host behind a redirect has a signed address, which is not shown."""
    address = endpoint() if error is None else _bare(str(error.response.url))
    return urlsplit(address).netloc or address
