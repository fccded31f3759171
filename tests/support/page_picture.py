"""The picture of the page of `glimp serve`: `python -m tests.support.page_picture` draws docs/serve-page.png.

A real server of the built-in pair answers a question in a real Chromium.
"""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import ViewportSize

from tests.server.conftest import Served
from tests.support import browsing

PICTURE = Path(__file__).parents[2] / "docs" / "serve-page.png"
THRESHOLD = "0.1"
_SIZE: ViewportSize = {"width": 840, "height": 1060}
_SCALE = 1.5


def draw(path: Path) -> None:
    """Ask the question that the page offers, open the thought, and take a picture of the end of it."""
    served = Served("--pair", "builtin", "--seed", "1", "--quiet")
    try:
        with browsing.browser() as chromium:
            page = chromium.new_page(viewport=_SIZE, device_scale_factor=_SCALE, reduced_motion="reduce")
            page.goto(served.url)
            page.locator("#rule").select_option("threshold")
            page.locator("#amount-number").fill(THRESHOLD)
            page.locator("#example").click()
            page.keyboard.press("Enter")
            page.locator(".figures").wait_for()
            page.locator("summary").click()
            page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
            page.locator("#latest").wait_for(state="hidden")
            page.screenshot(path=path)
    finally:
        served.stop()


if __name__ == "__main__":
    draw(PICTURE)
