"""The page in a browser that reaches nothing: it asks for nothing, and fits a phone and paper."""

import pytest

from tests.report.picture import CHROMIUM, example, opened

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no browser at {CHROMIUM}")


def test_it_asks_for_nothing_and_fits_a_phone_and_paper() -> None:
    asked: list[str] = []
    complaints: list[str] = []
    with opened("") as tab:
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: complaints.append(message.text))
        tab.set_content(example())
        for width, media in ((1000, "screen"), (360, "screen"), (760, "print")):
            tab.set_viewport_size({"width": width, "height": 900})
            tab.emulate_media(media=media)  # type: ignore[arg-type]  # one of the words that it knows
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
        ground = "getComputedStyle(document.body).backgroundColor"
        tab.emulate_media(media="screen", color_scheme="dark")
        assert tab.evaluate(ground) == "rgb(20, 25, 31)"
        tab.emulate_media(media="print", color_scheme="dark")
        assert tab.evaluate(ground) == "rgb(255, 255, 255)"
        bars = tab.locator("svg .bar")
        assert bars.count() == 90
        assert bars.last.locator("title").text_content() == "27 Nov 2026, 02:04 UTC: 10"

    assert asked == []
    assert complaints == []
