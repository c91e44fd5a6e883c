"""Pages in a real browser: Chromium, driven by playwright; skipped where either is missing."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave these tests out where nobody asked for them: they take a minute."""
    if "browser" not in config.option.markexpr:
        for item in items:
            if item.get_closest_marker("browser"):
                item.add_marker(pytest.mark.skip(reason="in a browser: `make test-browser`"))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser that several tests use, each with windows of its own."""
    api = pytest.importorskip("playwright.sync_api", reason="no playwright: `make test-browser`")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no chromium: apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


class Window:
    """A page in a window of its own; what it says and asks for is kept."""

    def __init__(self, browser: Any, page: Path, width: int, height: int, scheme: str) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("requestfailed", lambda request: self.said.append(f"failed {request.url}"))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("dialog", lambda dialog: (self.said.append("dialog"), dialog.dismiss()))
        self.folder = page.parent.as_uri()
        self.page.goto(page.as_uri())

    def close(self) -> None:
        """Close it: by now it has said nothing, and asked for nothing outside of its folder."""
        self.context.close()
        assert self.said == []
        outside = [url for url in self.asked if not url.startswith((self.folder, "data:"))]
        assert outside == []


@pytest.fixture
def open_page(chromium) -> Iterator[Any]:
    """Open a page: open_page(path, width=…, height=…, scheme=…)."""
    windows: list[Window] = []

    def open_one(
        page: Path, *, width: int = 1400, height: int = 900, scheme: str = "light"
    ) -> Window:
        windows.append(Window(chromium, page, width, height, scheme))
        return windows[-1]

    yield open_one
    for window in windows:
        window.close()


# Of each text its contrast with what is behind it (WCAG 2.1), as far as that is one colour.
CONTRASTS = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((value) => value / 255)
      .map((value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
      if (colour[3] > 0) return null;
    }
    return rgb(getComputedStyle(document.body).backgroundColor);
  };
  return [...document.querySelectorAll("h1,h2,h3,p,th,td,label,button,a,output,span.right,span.wrong")]
    .filter((element) => element.textContent.trim() && element.getClientRects().length)
    .map((element) => [element, behind(element)]).filter(([, back]) => back)
    .map(([element, back]) => {
      const [a, b] = [light(rgb(getComputedStyle(element).color)), light(back)].sort((x, y) => y - x);
      return [(a + 0.05) / (b + 0.05), element.tagName + ": " + element.textContent.slice(0, 40)];
    });
})()"""  # noqa: E501


@pytest.fixture
def contrasts() -> str:
    """A script that gives [contrast, text] of each text of the page."""
    return CONTRASTS
