"""The files of a data set, in the hub's cache or from the hub.

Touches the network only when it is told to download.
"""

from __future__ import annotations

import errno
import json
from pathlib import Path

from glimp_local.errors import GlimpError, UsageError
from glimp_local.models.hub import cache

_NO_LISTING = (AttributeError, KeyError, TypeError, RecursionError, json.JSONDecodeError)
"""What the client raises for an answer of another shape."""
_NOT_FOUND = 404
_REFUSED = {401, 403}


def snapshot(repo: str, pattern: str, *, download: bool) -> Path | None:
    """Return the folder of a data set's newest revision; with `download`, first fetch what is missing or newer.

    `pattern` is of the wanted files' names. Returns None where nothing of it is on this machine and nothing may be
    fetched. Raises UsageError where fetching is switched off, GlimpError where it fails.
    """
    cache.settings()  # raises UsageError where the library could not be loaded
    from huggingface_hub import constants, errors, snapshot_download  # noqa: PLC0415 - not needed for a file

    constants.HF_HUB_DISABLE_TELEMETRY = True  # nothing but the data set is asked for
    try:
        folder = snapshot_download(repo, repo_type="dataset", allow_patterns=pattern, local_files_only=not download)
    except errors.LocalEntryNotFoundError as error:
        if not download:
            return None
        if constants.HF_HUB_OFFLINE:
            raise UsageError(
                f"{repo} is to be downloaded, but HF_HUB_OFFLINE is set", hint="unset HF_HUB_OFFLINE"
            ) from error
        cause = error.__cause__
        raise _failed(repo, cause if isinstance(cause, Exception) else error) from error
    except Exception as error:  # those of the client's HTTP library, too, and which one that is depends on its version
        raise _failed(repo, error) from error
    return Path(folder)


def page(repo: str) -> str:
    """Return the address of a data set's page on the hub, where its terms are."""
    from huggingface_hub import constants  # noqa: PLC0415 - as above

    return f"{constants.ENDPOINT}/datasets/{repo}"


def _failed(repo: str, error: Exception) -> GlimpError:
    from huggingface_hub import errors, get_token  # noqa: PLC0415 - as above

    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    if isinstance(error, errors.GatedRepoError):
        way = "with the account of your token" if get_token() else "then: hf auth login (or set HF_TOKEN)"
        return GlimpError(
            f"{repo} is gated: the hub gives it only to accounts that have accepted its terms ({status})",
            hint=f"accept them at {page(repo)}, {way}",
        )
    if status in _REFUSED:
        return GlimpError(
            f"the hub gives {repo} only to who is logged in and was granted access ({status})",
            hint="hf auth login",
        )
    if status == _NOT_FOUND:
        return GlimpError(f"the hub has no data set {repo} (any more), or not all of its files (404)")
    if isinstance(error, OSError) and (error.errno == errno.ENOSPC or error.filename is not None):
        where = f"{error.filename}: " if error.filename is not None else ""
        return GlimpError(
            f"{repo} could not be kept: {where}{(error.strerror or str(error)).lower()}",
            hint="make room, or set HF_HOME to a folder that can be written",
        )
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, _NO_LISTING):
        said = "what the hub answers is no list of files"
    return GlimpError(
        f"{repo} could not be downloaded: {said if status is None else f'the hub answers {status}'}",
        hint="check the connection, and give the same command again",
    )
