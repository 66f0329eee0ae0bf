"""The viewer at its limits: how fast it opens, moves and filters, in headless Chromium, from file://.

    python scripts/bench_viewer.py         # nine layers, grids up to 320 x 320, 1,000 classes: 2 GB of disk
    python scripts/bench_viewer.py --largest 80 --folder /tmp/bench

A synthetic run is made by the functions that the stages use: one layer, linked nine times. Needs Playwright
and a Chromium (``CHROMIUM``, or on the path).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from atlas_pipeline.viewer.grid_files import GridNumbers, class_files, number_file, overview_files
from atlas_pipeline.viewer.layout_files import key_file, place_file, thumbnail
from atlas_pipeline.viewer.page import page_files
from atlas_pipeline.viewer.scripts import script
from atlas_pipeline.viewer.sprites import SHEET, sheet_files

LAYERS = [f"mixed{name}" for name in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")]
GRIDS = (20, 40, 80, 160, 320)
NUM_CLASSES, PX, NUM_KNOWN = 1000, 96, 20_000


def write(folder: Path, name: str, content: bytes) -> None:
    """One file; nothing is kept in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def icon(row: int, col: int, grid: int) -> np.ndarray:
    """A smooth blob with some noise, so that its file is as large as an icon's."""
    rng = np.random.default_rng([row, col, grid])
    small = rng.integers(0, 256, (6, 6, 3)).astype(np.float32)
    small[2:4, 2:4] = (255 * col / grid, 255 * row / grid, 128)
    weights = np.maximum(0, 1 - np.abs(np.arange(PX)[:, None] * 5 / (PX - 1) - np.arange(6)))
    smooth = np.einsum("yr,xc,rcd->yxd", weights, weights, small, optimize=True)
    return np.clip(smooth + rng.normal(0, 6, (PX, PX, 1)), 0, 255).astype(np.uint8)


def numbers_of(grid: int) -> GridNumbers:
    """Cells in a disc, classes in blobs."""
    at = (np.arange(grid) + 0.5) / grid
    y, x = np.meshgrid(at, at, indexing="ij")
    row, col = np.nonzero(np.hypot(x - 0.5, y - 0.5) < 0.5 + 0.03 * np.sin(9 * np.arctan2(y - 0.5, x - 0.5)))
    rng = np.random.default_rng(grid)
    centre = np.random.default_rng(0).random((NUM_CLASSES, 2))
    attribution = np.empty((len(row), NUM_CLASSES), dtype=np.float32)
    for label in range(NUM_CLASSES):
        far = (at[col] - centre[label, 0]) ** 2 + (at[row] - centre[label, 1]) ** 2
        attribution[:, label] = np.exp(-far / 0.01) + rng.normal(0, 0.02, len(row)) - 0.05
    return GridNumbers(
        grid=grid,
        px=PX,
        activations=1_000_000,
        binned=990_000,
        row=row,
        col=col,
        count=rng.integers(10, 900, len(row)),
        round_trip=rng.integers(0, 5, len(row)),
        cosines={
            name: rng.random(len(row))
            for name in ("fidelity", "coherence", "consistency", "noise", "nearest")
        },
        attribution=attribution,
        labels=[f"class number {label}" for label in range(NUM_CLASSES)],
        class_indices=list(range(NUM_CLASSES)),
    )


def write_grid(folder: Path, grid: int) -> None:
    """All files of a grid, a band of sheets at a time."""
    numbers = numbers_of(grid)
    write(folder, "grid.js", number_file(numbers))
    for name, content in class_files(numbers):
        write(folder, name, content)

    def icons() -> Iterator[np.ndarray]:
        return (icon(r, c, grid) for r, c in zip(numbers.row.tolist(), numbers.col.tolist(), strict=True))

    for name, content in overview_files(numbers, icons).items():
        write(folder, name, content)
    for band in np.unique(numbers.row // SHEET):
        here = numbers.row // SHEET == band
        rows, cols = numbers.row[here], numbers.col[here]
        pictures = np.stack([icon(r, c, grid) for r, c in zip(rows.tolist(), cols.tolist(), strict=True)])
        for name, content in sheet_files("icons", pictures, rows, cols, PX).items():
            write(folder, name, content)


def make_run(folder: Path, grids: tuple[int, ...]) -> None:
    """The whole folder: layers after the first are links to it."""
    first = folder / LAYERS[0] / "all"
    for grid in grids:
        write_grid(first / f"tiles-{grid}", grid)
    known = np.arange(NUM_KNOWN)
    xy = np.random.default_rng(1).random((NUM_KNOWN, 2))
    write(first, "places.js", place_file(xy, known, known))
    write(first, "thumbnail.webp", thumbnail(xy))
    keys = [f"n{image % 1000:08d}/n{image % 1000:08d}_{image}.JPEG" for image in known]
    write(
        folder / "keys",
        "keys.js",
        key_file(known, keys, known % 1000, [f"class number {k}" for k in range(1000)]),
    )
    for layer in LAYERS[1:]:
        shutil.copytree(first, folder / layer / "all", copy_function=os.link)
    view = {"name": "all", "kind": "all", "title": "All activations", "activations": 1_000_000, "missing": ""}
    view["grids"] = [{"size": grid, "cropPx": 0} for grid in grids]
    run = {"run": "bench", "id": "bench", "model": "synthetic", "weights": "none", "random": False}
    run |= {"images": 1_000_000, "generated": True, "keys": True, "report": False}
    run |= {"layers": [{"name": layer, "views": [view]} for layer in LAYERS]}
    run |= {"scale": ["#ffffff", "#ff8800", "#000044"], "palette": ["#0072b2", "#e69f00", "#009e73"]}
    for name, content in page_files("bench", script(run)).items():
        write((folder / name).parent, Path(name).name, content)


READY = "atlas.isComplete?.() && atlas.shown?.()?.size === atlas.gridSize()"
# Of each frame: what drawing takes of the main thread, read back so that no work is left waiting.
DRAW = """async (steps) => { const map = document.getElementById("map"), times = [];
  const context = map.getContext("2d");
  for (const changes of steps) {
    const start = performance.now();
    atlas.set(changes);
    atlas.paint(context, atlas.camera(), devicePixelRatio);
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


def measure(folder: Path) -> dict[str, Any]:
    """Open the run and use it; milliseconds, bytes."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--enable-precise-memory-info"]
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        found: dict[str, Any] = {"first": first_paint(browser, folder)}
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"file://{folder}/index.html#labels=false")
        page.wait_for_function(READY)
        finest = page.evaluate("atlas.view().grids.at(-1).size")
        for name, link in {"whole": {"z": 1}, "middle": {"z": 4}, "close": {"z": 12}}.items():
            page.evaluate("(link) => atlas.set(link)", {"grid": finest, "x": 0.5, "y": 0.5, **link})
            page.wait_for_function(READY, timeout=120_000)
            pans = [{"x": 0.5 + 0.0004 * step, "y": 0.5} for step in range(90)]
            zooms = [{"z": link["z"] * 1.004**step} for step in range(90)]
            page.evaluate(DRAW, pans[:5])
            for kind, steps in (("pan", pans), ("zoom", zooms)):
                page.wait_for_function(READY, timeout=120_000)
                drawn, apart = page.evaluate(DRAW, steps), page.evaluate(INTERVALS, steps)
                found[f"{name} {kind}"] = {
                    "draw_ms": statistics.median(drawn),
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
        """const look = () => { const grid = window.atlas?.state?.layer && atlas.shown?.();
        const painted = () => (window.painted ??= performance.now());
        requestAnimationFrame(grid && atlas.overview(grid, false) ? painted : look); };
        requestAnimationFrame(look);"""
    )
    page.goto(f"file://{folder}/index.html")
    page.wait_for_function("window.painted")
    bytes_read = sum(
        Path(path).stat().st_size for path in read if path.startswith("/") and Path(path).is_file()
    )
    painted = page.evaluate("window.painted")
    page.close()
    return {"painted_ms": painted, "bytes": bytes_read, "files": len(read)}


def class_filter(page: Any) -> dict[str, float]:
    """From the choice of a class to its veil on the map of the finest grid, file and all."""
    page.evaluate("atlas.set({x: 0.5, y: 0.5, z: 1})")
    page.wait_for_function(READY, timeout=120_000)
    times = page.evaluate(
        """async () => { const times = [], context = document.getElementById("map").getContext("2d");
        for (const lit of ["3", "500", "77", "999", "250"]) {
          const start = performance.now();
          atlas.set({ lit });
          while (!atlas.attribution(atlas.shown())) await new Promise((done) => setTimeout(done, 1));
          atlas.paint(context, atlas.camera(), devicePixelRatio);
          context.getImageData(0, 0, 1, 1);
          times.push(performance.now() - start);
        }
        return times; }"""
    )
    return {"median_ms": statistics.median(times), "worst_ms": max(times)}


def memory(page: Any) -> dict[str, float]:
    """Of the page's process, resident, after all that; the script's heap alone beside it."""
    session = page.context.browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    renderers = [process["id"] for process in processes if process["type"] == "renderer"]
    resident = [resident_bytes(pid) for pid in renderers]
    return {
        "renderer_bytes": max(resident, default=0),
        "heap_bytes": page.evaluate("performance.memory.usedJSHeapSize"),
    }


def resident_bytes(pid: int) -> int:
    """Of one process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


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
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(f"made in {time.monotonic() - start:.0f} s, at most {peak / 1e9:.2f} GB of memory")
    print(json.dumps(measure(folder), indent=1))


if __name__ == "__main__":
    main()
