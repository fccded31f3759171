"""How models mark their thought and their calls of tools, as their chat templates tell it."""

from __future__ import annotations

from glimp_local.messages import ToolStyle
from glimp_local.settings import ThinkingMarkers

# How the models at hand mark their thought. `open` is what stands in the prompt in front of the first word of thought.
KNOWN_MARKERS = (
    ThinkingMarkers(open="<think>\n", close="</think>"),
    ThinkingMarkers(open="[THINK]", close="[/THINK]"),
    ThinkingMarkers(open="<seed:think>", close="</seed:think>"),
    ThinkingMarkers(open="<|channel>thought\n", close="<channel|>"),
)


def find_markers(template: str) -> ThinkingMarkers | None:
    """Find the markers of thought a chat template speaks of; None where it knows of no thought."""
    for markers in KNOWN_MARKERS:
        if markers.close in template or markers.open.strip() in template:
            return markers
    return None


def find_tool_style(template: str) -> ToolStyle | None:
    """Find how a chat template has tools called; None if it knows none, or has them called in another way."""
    if "tools" not in template or "<tool_call>" not in template:
        return None
    return "xml" if "<function=" in template else "json"
