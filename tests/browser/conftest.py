"""Pages in a real browser: Chromium, driven by playwright; skipped where either is missing."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caf_video.rendering import FigureTable, PageClip, RunPage, line_chart, write_film

CLIPS = 2000
HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=\"alert(1)\"> & 'so'"
CLASSES = ("left", "right", HOSTILE, "stop")


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


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run of two thousand clips, some of them of a class with a hostile name."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "frames").mkdir()
    random = np.random.default_rng(0)
    for number in range(8):
        frames = random.integers(0, 255, (3, 9, 16, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
        for letter in "ab":
            write_film(folder / "frames" / f"{number}{letter}.jpg", frames, 128)
    clips = []
    for place in range(CLIPS):
        label = CLASSES[place % 4]
        right = place % 10 != 3
        near = [((place + step) % CLIPS, f"clip {(place + step) % CLIPS}", step / 4)
                for step in (4, 8)]  # fmt: skip
        clips.append(
            PageClip(
                id=f"clip {place}" if place != 5 else HOSTILE,
                label=label,
                session=f"drive {place // 50}",
                verdict=right if place != 7 else None,
                found=label if right else "stop",
                distance=float((place * 7919) % CLIPS) / CLIPS,
                point=(float(place % 50), float(place // 50)),
                films=[f"frames/{place % 8}a.jpg", f"frames/{place % 8}b.jpg"],
                size=(128, 72),
                times_seconds=[0.5, 1.5, 2.5],
                influence=[0.2, 0.3, 0.5],
                near=near,
                facts={"video": HOSTILE},
            )
        )
    steps = list(range(50))
    page = RunPage(
        title=f"Run {HOSTILE}",
        lead="Made up.",
        headline={"R@1": 0.9, "NMI": 0.5},
        tables=[FigureTable("Among all", HOSTILE, ["R@1", "NMI"], [("trained", [0.9, 0.5]),
                                                                     ("chance", [0.25, None])])],
        per_class={name: (500, 0.9) for name in CLASSES},
        charts=[line_chart("loss", {"loss": (steps, [1 / (1 + step) for step in steps])})],
        settings={HOSTILE: HOSTILE},
        data={"train split": "1 clip"},
        plane=(0.4, 0.2),
        modes=["attention", "frames alone"],
        clips=clips,
        noun="clips",
        total=3000,
        verdict_rule="A clip is right if its nearest clip has its class.",
    )  # fmt: skip
    from caf_video.rendering import write_run_page

    write_run_page(folder / "index.html", page)
    return folder / "index.html"
