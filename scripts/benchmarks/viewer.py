"""Speed of the viewer on a large run: opening, moving and filtering in headless Chromium, from file://.

    python -m scripts.benchmarks.viewer      # nine layers, grids to 320 x 320, 1,000 classes: 2 GB on disk
    python -m scripts.benchmarks.viewer --largest 80 --folder FOLDER

Needs Playwright and Chromium (its path in ``CHROMIUM``, or on PATH).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

from scripts.benchmarks.own_process import peak_gb
from scripts.benchmarks.viewer_scene import GRIDS, make_run

READY = "atlas.isComplete?.() && atlas.gridShown?.()?.size === atlas.gridSize()"
# Main-thread milliseconds to draw each frame; a pixel is read back so that no drawing work is pending.
DRAW = """async (steps) => { const map = document.getElementById("map"), times = [];
  const context = map.getContext("2d");
  for (const changes of steps) {
    const start = performance.now();
    atlas.set(changes);
    atlas.paint(context, atlas.cameraOf(), devicePixelRatio);
    context.getImageData(0, 0, 1, 1);
    times.push(performance.now() - start);
    await new Promise(requestAnimationFrame);
  }
  return times; }"""
INTERVALS = """async (steps) => { const times = []; let last = performance.now();
  for (const changes of steps) {
    atlas.set(changes);
    await new Promise(requestAnimationFrame);
    times.push(performance.now() - last); last = performance.now();
  }
  return times; }"""


def wait(page: Any, condition: str) -> None:
    """Wait until the condition is true; the page's content policy forbids Playwright's own waiting."""
    while not page.evaluate(condition):
        page.wait_for_timeout(20)


def measure(folder: Path) -> dict[str, Any]:
    """Open the run and use it; return milliseconds and bytes."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--enable-precise-memory-info"]
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        found: dict[str, Any] = {"first": first_paint(browser, folder)}
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"file://{folder}/index.html")
        wait(page, READY)
        finest = page.evaluate("atlas.viewShown().grids.at(-1).size")
        for name, link in {"whole": {"z": 1}, "middle": {"z": 4}, "close": {"z": 12}}.items():
            page.evaluate("(link) => atlas.set(link)", {"grid": finest, "x": 0.5, "y": 0.5, **link})
            wait(page, READY)
            pans = [{"x": 0.5 + 0.0004 * step, "y": 0.5} for step in range(90)]
            zooms = [{"z": link["z"] * 1.004**step} for step in range(90)]
            page.evaluate(DRAW, pans[:5])
            for kind, steps in (("pan", pans), ("zoom", zooms)):
                wait(page, READY)
                before = cpu_s(page)
                drawn = page.evaluate(DRAW, steps)
                cpu_ms = 1000 * (cpu_s(page) - before) / len(steps)
                intervals = page.evaluate(INTERVALS, steps)
                found[f"{name} {kind}"] = {
                    "draw_ms": statistics.median(drawn),
                    # CPU time of all threads of the page depends least on other load.
                    "cpu_ms": cpu_ms,
                    "draw_p95_ms": sorted(drawn)[int(0.95 * len(drawn))],
                    "interval_ms": statistics.median(intervals),
                }
        found["class filter"] = class_filter(page)
        found["memory"] = memory(page)
        browser.close()
    return found


def first_paint(browser: Any, folder: Path) -> dict[str, float]:
    """Time from the start of loading to the first drawing of the map, and the bytes read for it."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    read: set[str] = set()
    page.on("request", lambda request: read.add(request.url.split("?")[0].removeprefix("file://")))
    # The first drawing is the first frame after the overview of the grid has loaded.
    page.add_init_script(
        """const look = () => { const grid = window.atlas?.state?.layer && atlas.gridShown?.();
        const painted = () => (window.painted ??= performance.now());
        requestAnimationFrame(grid && atlas.overviewOf(grid, false) ? painted : look); };
        requestAnimationFrame(look);"""
    )
    page.goto(f"file://{folder}/index.html")
    wait(page, "window.painted")
    bytes_read = sum(
        Path(path).stat().st_size for path in read if path.startswith("/") and Path(path).is_file()
    )
    painted = page.evaluate("window.painted")
    page.close()
    return {"painted_ms": painted, "bytes": bytes_read, "files": len(read)}


def class_filter(page: Any) -> dict[str, float]:
    """Time from choosing a class to its highlight on the finest grid, including loading its file."""
    page.evaluate("atlas.set({x: 0.5, y: 0.5, z: 1})")
    wait(page, READY)
    times = page.evaluate(
        """async () => { const times = [], context = document.getElementById("map").getContext("2d");
        for (const lit of ["3", "500", "77", "999", "250"]) {
          const start = performance.now();
          atlas.set({ lit });
          while (!atlas.attributionOf(atlas.gridShown())) await new Promise((done) => setTimeout(done, 1));
          atlas.paint(context, atlas.cameraOf(), devicePixelRatio);
          context.getImageData(0, 0, 1, 1);
          times.push(performance.now() - start);
        }
        return times; }"""
    )
    return {"median_ms": statistics.median(times), "worst_ms": max(times)}


def renderers(page: Any) -> list[int]:
    """Process ids of the page renderers."""
    session = page.context.browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    return [process["id"] for process in processes if process["type"] == "renderer"]


def cpu_s(page: Any) -> float:
    """CPU seconds used by the page renderers so far."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in renderers(page)]
    return sum(int(f[11]) + int(f[12]) for f in fields) / os.sysconf("SC_CLK_TCK")


def memory(page: Any) -> dict[str, float]:
    """Resident bytes of the renderer process, and bytes of the JavaScript heap."""
    pids = renderers(page)
    return {
        "renderer_bytes": max((status_bytes(pid, "VmRSS") for pid in pids), default=0),
        # Anonymous memory only: without the program files of the browser, which all pages share.
        "renderer_own_bytes": max((status_bytes(pid, "RssAnon") for pid in pids), default=0),
        "heap_bytes": page.evaluate("performance.memory.usedJSHeapSize"),
    }


def status_bytes(pid: int, kind: str) -> int:
    """A memory entry of /proc/PID/status in bytes; 0 if it is missing."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(kind)), 0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("data/bench-viewer"), help="folder of the run")
    parser.add_argument("--largest", type=int, default=GRIDS[-1], help="size of the finest grid")
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    if not (folder / "index.html").is_file():
        start = time.monotonic()
        make_run(folder, tuple(grid for grid in GRIDS if grid <= arguments.largest))
        print(f"made in {time.monotonic() - start:.0f} s, with a peak of {peak_gb():.2f} GB of memory")
    print(json.dumps(measure(folder), indent=1))


if __name__ == "__main__":
    main()
