"use strict";
// The map on its canvas, drawn when something changed.
{
  const canvas = document.getElementById("map"),
    context = canvas.getContext("2d");
  let dirty = true,
    finest = 1, // pixels a CSS pixel for which sheets are asked at least
    hovered = null,
    pointer = null;

  atlas.redraw = () => (dirty = true);

  let colours = null;
  /** The colours that the canvas shares with the page's style: {paper, ink, muted, line, accent}. */
  atlas.theme = () => {
    if (!colours) {
      const style = getComputedStyle(document.documentElement);
      const names = ["paper", "ink", "muted", "line", "accent"];
      colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue("--" + name).trim()]));
    }
    return colours;
  };
  atlas.themeChanged = () => {
    colours = null;
    atlas.redraw();
  };

  /** Call back with every cell in sight. */
  atlas.eachInSight = (grid, { left, top, width, height, scale }, take) => {
    const px = scale / grid.size,
      last = grid.size - 1;
    const from = (offset) => Math.max(0, Math.floor(-offset / px));
    const to = (offset, length) => Math.min(last, Math.floor((length - offset) / px));
    for (let row = from(top); row <= to(top, height); row++) {
      for (let col = from(left); col <= to(left, width); col++) {
        const cell = grid.at[row * grid.size + col];
        if (cell >= 0) take(cell, left + col * px, top + row * px, px);
      }
    }
  };

  function drawSheets(target, grid, camera, ratio) {
    const { crops, full } = atlas.state,
      kind = crops && grid.cropPx ? "crops" : "icons";
    const { left, top, width, height, scale } = camera,
      side = scale / grid.size,
      onScreen = side * ratio;
    const drawWhole = () => {
      const whole = kind === "icons" && atlas.overview(grid, full);
      if (whole) target.drawImage(whole, left, top, scale, scale);
    };
    if (kind === "icons" && onScreen <= grid.overviewPx * 1.15) return drawWhole();
    const sheets = [];
    let isWhole = true;
    const px = kind === "icons" ? grid.px : grid.cropPx,
      span = side * atlas.SHEET;
    const last = Math.ceil(grid.size / atlas.SHEET) - 1,
      within = (at) => Math.min(last, Math.max(0, at));
    for (
      let band = within(Math.floor(-top / span));
      band <= within(Math.floor((height - top) / span));
      band++
    ) {
      for (
        let column = within(Math.floor(-left / span));
        column <= within(Math.floor((width - left) / span));
        column++
      ) {
        const x = left + column * span,
          y = top + band * span;
        const far = Math.hypot(x + span / 2 - width / 2, y + span / 2 - height / 2);
        // Small copies while small is enough, and until the large ones have come.
        const enough = px > 24 && onScreen <= 24 * 1.15;
        const share = px >= 64 && onScreen <= (px / 2) * 1.15 ? 0.5 : 1;
        const large = enough ? null : atlas.sheet(grid, kind, band, column, { full, far, share });
        const sheet =
          large ?? (px > 24 ? atlas.sheet(grid, kind, band, column, { low: true, full, far }) : null);
        if (sheet) sheets.push([sheet, x, y]);
        else isWhole &&= !grid.sheets.has(`${band}-${column}`);
      }
    }
    // The whole grid, small, only while a sheet is on its way: it is costly to draw that large.
    if (!isWhole) drawWhole();
    for (const [sheet, x, y] of sheets) target.drawImage(sheet, x, y, span, span);
  }

  function drawOver(target, grid, { left, top, scale }, picture) {
    if (!picture) return;
    target.imageSmoothingEnabled = false;
    target.drawImage(picture, left, top, scale, scale);
    target.imageSmoothingEnabled = true;
  }

  /** The whole picture onto a context; on the screen, and for a saved PNG. */
  atlas.paint = (target, camera, ratio) => {
    const { paper, ink, accent } = atlas.theme(),
      grid = atlas.shown(),
      state = atlas.state;
    target.imageSmoothingQuality = "low"; // sizes are near their own, and every frame pays
    target.fillStyle = paper;
    target.fillRect(0, 0, camera.width, camera.height);
    if (grid) {
      drawSheets(target, grid, camera, ratio);
      drawOver(target, grid, camera, atlas.colours(grid));
      const veil = atlas.veil(grid);
      drawOver(target, grid, camera, veil);
      if (veil) atlas.drawFrames(target, grid, camera);
    } else {
      atlas.drawPlaces(target, camera);
    }
    atlas.drawFound(target, camera);
    if (grid && hovered?.grid === grid) atlas.outline(target, grid, hovered.cell, camera, ink, 1);
    const chosen = atlas.chosen();
    if (chosen) atlas.outline(target, chosen.grid, chosen.cell, camera, accent, 2.5);
    if (grid && state.labels) atlas.drawLabels(target, grid, camera);
    atlas.drawAxis(target, camera);
    atlas.drawGlide(target, camera);
    atlas.drawTrace(target, camera);
  };

  function showPointed() {
    const [x, y, ...screen] = pointer ?? [null],
      grid = pointer && !atlas.isGliding() ? atlas.shown() : null;
    const cell = grid ? atlas.cellAt(grid, ...atlas.toMap(x, y)) : -1;
    if (cell !== (hovered?.cell ?? -1)) atlas.redraw();
    hovered = cell < 0 ? null : { grid, cell };
    atlas.showTip(grid, cell, ...screen);
  }

  function frame() {
    if (dirty && canvas.clientWidth) {
      dirty = false;
      const ratio = devicePixelRatio || 1,
        width = Math.round(canvas.clientWidth * ratio),
        height = Math.round(canvas.clientHeight * ratio);
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      // The map may have moved under a pointer that rests.
      if (pointer) showPointed();
      atlas.paint(context, atlas.camera(), Math.max(ratio, finest));
      atlas.drawMinimap();
      atlas.loadWanted();
    }
    requestAnimationFrame(frame);
  }

  const nextFrame = () => new Promise(requestAnimationFrame);

  /** Wait until all that a picture with so many pixels a CSS pixel shows has come; the screen shows it too. */
  atlas.sharpened = async (ratio) => {
    finest = ratio;
    do {
      atlas.redraw();
      await nextFrame();
      await nextFrame();
    } while (!atlas.isComplete());
    finest = 1;
  };

  /** The pointer is over a point of the canvas (x null: it left). */
  atlas.point = (x, y, screenX, screenY) => {
    pointer = x === null ? null : [x, y, screenX, screenY];
    showPointed();
  };

  /** Choose the cell at a point of the map, or none. */
  atlas.pick = (x, y) => {
    const grid = atlas.shown();
    if (!grid) return;
    const cell = atlas.cellAt(grid, x, y);
    if (cell < 0) atlas.set({ cell: "" });
    else atlas.choose(grid, cell);
  };

  atlas.startDrawing = () => {
    new ResizeObserver(atlas.redraw).observe(canvas);
    requestAnimationFrame(frame);
  };
}
