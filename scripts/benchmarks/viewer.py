"""The viewer at its limits: how fast it opens, moves and filters, in headless Chromium, from file://.

    python -m scripts.benchmarks.viewer      # nine layers, grids up to 320 x 320, 1,000 classes: 2 GB of disk
    python -m scripts.benchmarks.viewer --largest 80 --folder FOLDER

Needs Playwright and a Chromium (``CHROMIUM``, or on the path).
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
# Of each frame: what drawing takes of the main thread, read back so that no work is left waiting.
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
    """Until it is true; the page's content policy forbids what Playwright's own waiting does."""
    while not page.evaluate(condition):
        page.wait_for_timeout(20)


def measure(folder: Path) -> dict[str, Any]:
    """Open the run and use it; milliseconds, bytes."""
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
                apart = page.evaluate(INTERVALS, steps)
                found[f"{name} {kind}"] = {
                    "draw_ms": statistics.median(drawn),
                    # All threads of the page: what hangs least on what else the machine does.
                    "cpu_ms": cpu_ms,
                    "draw_p95_ms": sorted(drawn)[int(0.95 * len(drawn))],
                    "interval_ms": statistics.median(apart),
                }
        found["class filter"] = class_filter(page)
        found["memory"] = memory(page)
        browser.close()
    return found


def first_paint(browser: Any, folder: Path) -> dict[str, float]:
    """From the start of loading to the first picture of the map, and the bytes read for it."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    read: set[str] = set()
    page.on("request", lambda request: read.add(request.url.split("?")[0].removeprefix("file://")))
    # Seen to: the grid's overview has been drawn.
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
    """From the choice of a class to the dimming on the map of the finest grid, file and all."""
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
    """The processes of pages."""
    session = page.context.browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    return [process["id"] for process in processes if process["type"] == "renderer"]


def cpu_s(page: Any) -> float:
    """Of processor time that pages have taken so far."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in renderers(page)]
    return sum(int(f[11]) + int(f[12]) for f in fields) / os.sysconf("SC_CLK_TCK")


def memory(page: Any) -> dict[str, float]:
    """Of the page's process, resident, after all that; the script's heap alone beside it."""
    pids = renderers(page)
    return {
        "renderer_bytes": max((held_bytes(pid, "VmRSS") for pid in pids), default=0),
        # Without the browser's own program, which all pages share.
        "renderer_own_bytes": max((held_bytes(pid, "RssAnon") for pid in pids), default=0),
        "heap_bytes": page.evaluate("performance.memory.usedJSHeapSize"),
    }


def held_bytes(pid: int, kind: str) -> int:
    """Of one process, as the kernel counts."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(kind)), 0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("data/bench-viewer"))
    parser.add_argument("--largest", type=int, default=GRIDS[-1], help="the finest grid")
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    if not (folder / "index.html").is_file():
        start = time.monotonic()
        make_run(folder, tuple(grid for grid in GRIDS if grid <= arguments.largest))
        print(f"made in {time.monotonic() - start:.0f} s, at most {peak_gb():.2f} GB of memory")
    print(json.dumps(measure(folder), indent=1))


if __name__ == "__main__":
    main()
