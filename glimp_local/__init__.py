"""Two local GGUF models reason together: each step is written by the model it needs.

The public names are loaded when they are first used, so that importing the package stays free.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["Message", "RunSettings", "Session", "__version__", "load_pair", "read_events"]

if TYPE_CHECKING:
    from glimp_local.load import load_pair
    from glimp_local.messages import Message
    from glimp_local.records.event_log import read_events
    from glimp_local.session.session import Session
    from glimp_local.settings import RunSettings

_HOMES = {
    "Message": "glimp_local.messages",
    "RunSettings": "glimp_local.settings",
    "Session": "glimp_local.session.session",
    "load_pair": "glimp_local.load",
    "read_events": "glimp_local.records.event_log",
}


def __getattr__(name: str) -> Any:
    """Load a public name from the module it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - importing it at the top would cost every start

    return getattr(import_module(_HOMES[name]), name)
