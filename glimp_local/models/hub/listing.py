"""The hub's list of a repository's files: asked for, read up to a limit, and the models in it.

Whatever the answer holds, it ends with names that may be files of a cache, or with a DownloadError.
"""

from __future__ import annotations

import re
from io import BytesIO

import msgspec
from huggingface_hub import constants, get_session
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined] # not in an __all__

from glimp_local import units
from glimp_local.errors import DownloadError
from glimp_local.models.hub import cache
from glimp_local.models.hub.errors import endpoint, raise_for_status
from glimp_local.models.hub.partial import Pace, headers

_MOST_BYTES = 16_000_000
"""Of a listing when it is unpacked: a hundred thousand files."""


class _File(msgspec.Struct):
    rfilename: str


class _Listing(msgspec.Struct):
    siblings: list[_File]


def models(repo: str) -> list[str]:
    """Ask for the GGUFs of a repository, sorted; of a split one only the first file.

    Raises DownloadError where the answer is no list, and what the library and its client raise.
    """
    validate_repo_id(repo)
    try:
        found = msgspec.json.decode(_answer(f"{constants.ENDPOINT}/api/models/{repo}"), type=_Listing)
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, another shape, no UTF-8
        raise DownloadError(
            f"{endpoint()} does not answer as the hub does: what it sends for {repo} is not a list of files",
            hint="is HF_ENDPOINT right? name the file (MAKER/NAME/FILE.gguf) to do without the list",
        ) from error
    names = (file.rfilename for file in found.siblings)
    return sorted(name for name in names if cache.is_name(name) and _is_model(name))


def _answer(url: str) -> bytes:
    """Return the body of an answer; it is unpacked piece by piece, and no further than the limit."""
    read, pace = BytesIO(), Pace()
    timeout = constants.HF_HUB_ETAG_TIMEOUT
    with get_session().stream("GET", url, headers=headers(), timeout=timeout, follow_redirects=True) as response:
        raise_for_status(response)
        for piece in response.iter_bytes():
            read.write(piece)
            pace.count(len(piece))
            if read.tell() > _MOST_BYTES:
                raise DownloadError(
                    f"{endpoint()} answers with more than {units.file_size(_MOST_BYTES)} in place of a list of files",
                    hint="is HF_ENDPOINT right? name the file (MAKER/NAME/FILE.gguf) to do without the list",
                )
    return read.getvalue()


def _is_model(name: str) -> bool:
    base = name.rpartition("/")[2].lower()
    is_later_part = re.search(r"-(?!00001)\d{5}-of-\d{5}\.gguf$", base)
    return base.endswith(".gguf") and not base.startswith("mmproj") and not is_later_part
