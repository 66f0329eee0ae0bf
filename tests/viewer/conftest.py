"""Browser for the viewer tests: headless Chromium on file:// pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from making_viewer import make_viewer
from seeing import settle, until

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import Error, sync_playwright

    names = ("chromium-headless-shell", "chromium", "google-chrome")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        except Error as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"no Chromium here ({str(error).splitlines()[0]}); install it, or set CHROMIUM")
        yield started
        started.close()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_viewer(tmp_path_factory.mktemp("made"))


@pytest.fixture
def opened(browser: Any, made: Path) -> Iterator[Callable[..., Any]]:
    """Open a viewer at a link; the test fails if the page reports an error.

    lacking: files may be missing, which the browser always reports on its console.
    """
    contexts, faults = [], []

    def call(link: str = "", folder: Path = made, lacking: bool = False, **how: Any) -> Any:
        def note(message: Any) -> None:
            is_missing = lacking and message.text.startswith("Failed to load resource")
            if message.type == "error" and not is_missing:
                faults.append(message.text)

        how = {"viewport": {"width": 1200, "height": 800}, "reduced_motion": "reduce", **how}
        contexts.append(browser.new_context(accept_downloads=True, **how))
        page = contexts[-1].new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"file://{folder}/index.html{link}")
        settle(page)
        return page

    yield call
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def page_of(browser: Any) -> Iterator[Callable[..., Any]]:
    """`page_of(file, link)`: open a page of units, atoms or a picture; its errors fail the test."""
    contexts, faults = [], []

    def call(file: Path, link: str = "", **how: Any) -> Any:
        contexts.append(browser.new_context(viewport={"width": 1200, "height": 800}, **how))
        page = contexts[-1].new_page()
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"file://{file}{link}")
        until(page, "window.atlas?.isDrawn?.()")
        return page

    yield call
    for context in contexts:
        context.close()
    assert faults == []
