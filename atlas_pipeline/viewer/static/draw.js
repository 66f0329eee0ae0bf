"use strict";
// The map on its canvas, drawn when something changed.
{
  const FRAMES_PX = 9; // cells this large have a frame under the veil
  const canvas = document.getElementById("map"),
    context = canvas.getContext("2d");
  let dirty = true,
    hovered = null;

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
    if (kind === "icons") {
      const whole = atlas.overview(grid, full);
      if (whole) target.drawImage(whole, left, top, scale, scale);
      if (onScreen <= grid.overviewPx * 1.15) return;
    }
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
        if (sheet) target.drawImage(sheet, x, y, span, span);
      }
    }
  }

  function drawOver(target, grid, { left, top, scale }, picture) {
    if (!picture) return;
    target.imageSmoothingEnabled = false;
    target.drawImage(picture, left, top, scale, scale);
    target.imageSmoothingEnabled = true;
  }

  function drawFrames(target, grid, camera) {
    if (camera.scale / grid.size < FRAMES_PX) return;
    const path = new Path2D();
    atlas.eachInSight(grid, camera, (cell, x, y, px) => {
      const side = atlas.state.full ? px : (px * grid.side[cell]) / 255,
        margin = (px - side) / 2;
      path.rect(x + margin, y + margin, side, side);
    });
    target.strokeStyle = atlas.theme().line;
    target.lineWidth = 1;
    target.stroke(path);
  }

  function outline(target, grid, cell, { left, top, scale }, colour, width) {
    const px = scale / grid.size,
      x = left + grid.col[cell] * px,
      y = top + grid.row[cell] * px;
    target.lineWidth = width + 2;
    target.strokeStyle = atlas.theme().paper;
    target.strokeRect(x, y, px, px);
    target.lineWidth = width;
    target.strokeStyle = colour;
    target.strokeRect(x, y, px, px);
  }

  /** The words at both ends of a comparison's axis. */
  function drawAxis(target, camera) {
    const { axis } = atlas.view(),
      { ink, paper } = atlas.theme();
    if (!axis) return;
    const y = Math.min(camera.top + camera.scale + 22, camera.height - 14);
    const ends = [Math.max(12, camera.left), Math.min(camera.width - 12, camera.left + camera.scale)];
    Object.assign(target, {
      font: "600 14px system-ui, sans-serif",
      textBaseline: "middle",
      lineWidth: 4,
      strokeStyle: paper,
    });
    ["← " + axis[0], axis[1] + " →"].forEach((words, end) => {
      target.textAlign = end ? "right" : "left";
      target.strokeText(words, ends[end], y);
      target.fillStyle = ink;
      target.fillText(words, ends[end], y);
    });
  }

  /** The whole picture onto a context; on the screen, and for a saved PNG. */
  atlas.paint = (target, camera, ratio) => {
    const { paper, ink, accent } = atlas.theme(),
      grid = atlas.shown(),
      state = atlas.state;
    target.imageSmoothingQuality = "medium";
    target.fillStyle = paper;
    target.fillRect(0, 0, camera.width, camera.height);
    if (grid) {
      drawSheets(target, grid, camera, ratio);
      drawOver(target, grid, camera, atlas.colours(grid));
      const veil = atlas.veil(grid);
      drawOver(target, grid, camera, veil);
      if (veil) drawFrames(target, grid, camera);
    } else {
      atlas.drawPlaces(target, camera);
    }
    atlas.drawGlide(target, camera);
    atlas.drawFound(target, camera);
    if (grid && hovered?.grid === grid) outline(target, grid, hovered.cell, camera, ink, 1);
    const chosen = atlas.chosen();
    if (chosen) outline(target, chosen.grid, chosen.cell, camera, accent, 2.5);
    if (grid && state.labels) atlas.drawLabels(target, grid, camera);
    drawAxis(target, camera);
    atlas.drawTrace(target, camera);
  };

  function frame() {
    if (dirty && canvas.clientWidth) {
      dirty = false;
      const ratio = devicePixelRatio || 1,
        width = Math.round(canvas.clientWidth * ratio),
        height = Math.round(canvas.clientHeight * ratio);
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      atlas.paint(context, atlas.camera(), ratio);
      atlas.drawMinimap();
      atlas.loadWanted();
    }
    requestAnimationFrame(frame);
  }

  /** The pointer is over a point of the canvas (x null: it left). */
  atlas.point = (x, y, screenX, screenY) => {
    const grid = x === null ? null : atlas.shown();
    const cell = grid ? atlas.cellAt(grid, ...atlas.toMap(x, y)) : -1;
    if (cell !== (hovered?.cell ?? -1)) atlas.redraw();
    hovered = cell < 0 ? null : { grid, cell };
    atlas.showTip(grid, cell, screenX, screenY);
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
