"""Errors as clients read them: OpenAI's error object with the right status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from glimp_local.errors import CrashError, GlimpError
from glimp_local.server.bodies import BodyError
from glimp_local.server.line import BusyError, EndingError
from glimp_local.server.names import UnknownModelError
from glimp_local.server.process import LoadError, RequestError

_INVALID = "invalid_request_error"
_REMOTE = 502, "server_error", "remote_failed"
_REPORTED = {
    "PromptTooLongError": (400, _INVALID, "context_length_exceeded"),
    "DeclinedError": (400, _INVALID, "declined"),
    "UsageError": (400, _INVALID, "invalid_request"),
    "ConfigError": (400, _INVALID, "invalid_request"),
    "ServerError": _REMOTE,
}
"""Errors in the worker, by their names, that are not its own."""


class RemoteError(GlimpError):
    """A reply that a model on another server could not continue."""


def body(message: str, *, kind: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """Make the object."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def failure(
    status: int,
    message: str,
    *,
    kind: str = "invalid_request_error",
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Make a reply of an error."""
    content = msgspec.json.encode(body(message, kind=kind, param=param, code=code))
    return Response(content, status_code=status, media_type="application/json", headers=headers)


def described(error: GlimpError) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Return the status, the object and the headers that an error comes to."""
    message = f"{error} ({error.hint})" if error.hint else str(error)
    status, kind, param, code = 500, "server_error", None, "internal_error"
    match error:
        case UnknownModelError():
            status, kind, param, code = 404, _INVALID, "model", "model_not_found"
        case BodyError():
            status, kind, param, code = 400, _INVALID, error.param, "invalid_body"
        case RequestError(kind=name) if name in _REPORTED:
            status, kind, code = _REPORTED[name]
        case BusyError():
            status, kind, code = 503, "unavailable_error", "busy"
        case EndingError():
            status, kind, code = 503, "unavailable_error", "stopping"
        case RemoteError() | LoadError(kind="ServerError"):
            status, kind, code = _REMOTE
        case LoadError():
            code = "load_failed"
        case CrashError():
            code = "worker_crashed"
    headers = {"Retry-After": str(error.retry_seconds)} if isinstance(error, BusyError) else {}
    return status, body(message, kind=kind, param=param, code=code), headers


def response(error: GlimpError) -> Response:
    """Make a reply of an error that glimp knows."""
    status, content, headers = described(error)
    return Response(msgspec.json.encode(content), status, headers=headers, media_type="application/json")
