/**
 * The exit timeline on a canvas: a lane for each kind of exit, single exits as marks, crowded ones as
 * bars (logarithmic). A frame costs pixels times lanes, however many exits there are. Must not know:
 * the kernel, or what a click means.
 */
import { barHeight, countPixels, grouped, pixelEdges, pixelOf, placeOf, ticksIn } from "./timeline_scale.js";
import { drawMark } from "./timeline_lanes.js";

/** @typedef {import("./exits.js").ExitStore} ExitStore */
/** @typedef {import("./theme.js").Theme} Theme */
/** @typedef {import("./timeline_model.js").TimelineModel} Scene what is seen of the exits */

export const LANE_HEIGHT = 30;
export const AXIS_HEIGHT = 26;
const MARK_ROOM = 9; // pixels for each mark: where there is less, bars are drawn
const RADIUS = 5;
const LEAST_BAR = 3; // pixels above and below a lane's middle
const PALE = 0.4; // exits of the recorded future
const TICK_ROOM = 90;
const sheet = globalThis.OffscreenCanvas ? new OffscreenCanvas(1, 1) : document.createElement("canvas");

/**
 * Bring a canvas to the size of its element in the screen's own pixels; its pen, scaled.
 * @param {HTMLCanvasElement} canvas
 * @param {number} width
 * @param {number} height
 */
export function sharpPen(canvas, width, height) {
  const scale = globalThis.devicePixelRatio || 1;
  const [across, down] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== across) canvas.width = across;
  if (canvas.height !== down) canvas.height = down;
  const pen = canvas.getContext("2d");
  pen?.setTransform(scale, 0, 0, scale, 0, 0);
  return pen;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {number} width
 * @param {ExitStore} store
 * @param {Scene} scene
 * @param {Theme} theme
 */
export function paintTimeline(canvas, width, store, scene, theme) {
  const height = scene.lanes.length * LANE_HEIGHT + AXIS_HEIGHT;
  const pen = sharpPen(canvas, width, height);
  if (!pen || width < 1) return;
  pen.clearRect(0, 0, width, height);
  if (!store.size) return;
  paintGround(pen, width, height - AXIS_HEIGHT, scene, theme);
  paintAxis(pen, width, height - AXIS_HEIGHT, scene, theme);
  paintLanes(pen, width, store, scene, theme);
  paintSelection(pen, width, height - AXIS_HEIGHT, store, scene, theme);
  paintPresent(pen, width, height - AXIS_HEIGHT, scene, theme);
  paintCursor(pen, width, height - AXIS_HEIGHT, store, scene, theme);
}

/**
 * Lines between the lanes.
 * @param {CanvasRenderingContext2D} pen
 * @param {number} width
 * @param {number} height
 * @param {Scene} scene
 * @param {Theme} theme
 */
function paintGround(pen, width, height, scene, theme) {
  pen.fillStyle = theme.line;
  pen.globalAlpha = 0.45;
  for (let y = 0; y <= height; y += LANE_HEIGHT) pen.fillRect(0, y, width, 1);
  pen.globalAlpha = 1;
  const lane = scene.lanes.indexOf(scene.lane ?? "");
  if (lane < 0) return;
  pen.fillStyle = theme.accent;
  pen.globalAlpha = 0.09;
  pen.fillRect(0, lane * LANE_HEIGHT, width, LANE_HEIGHT);
  pen.globalAlpha = 1;
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {number} width
 * @param {number} y
 * @param {Scene} scene
 * @param {Theme} theme
 */
function paintAxis(pen, width, y, scene, theme) {
  const words = penForWords(width, AXIS_HEIGHT);
  if (!words) return;
  words.fillStyle = theme.dim;
  pen.fillStyle = theme.line;
  for (const at of ticksIn(scene.span, width, TICK_ROOM)) {
    const x = pixelOf(scene.span, width, scene.axis === "exit" ? at + 0.5 : at);
    if (x > width) continue;
    pen.fillRect(Math.round(x), 0, 1, y + 5);
    const text = grouped(at);
    const half = words.measureText(text).width / 2;
    words.fillText(text, Math.min(Math.max(x - half, 0), width - 2 * half), 8);
  }
  pen.drawImage(words.canvas, 0, y, width, AXIS_HEIGHT);
}

/**
 * A pen on an empty sheet apart from the page. On a canvas in the page the browser would lay out all
 * that has changed in the page before it knows how a word looks.
 * @param {number} width
 * @param {number} height
 */
function penForWords(width, height) {
  const scale = globalThis.devicePixelRatio || 1;
  [sheet.width, sheet.height] = [Math.ceil(width * scale), Math.ceil(height * scale)];
  const pen = /** @type {OffscreenCanvasRenderingContext2D | null} */ (sheet.getContext("2d"));
  pen?.setTransform(sheet.width / width, 0, 0, sheet.height / height, 0, 0);
  if (pen) [pen.font, pen.textBaseline] = ["11px system-ui, sans-serif", "top"];
  return pen;
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {number} width
 * @param {ExitStore} store
 * @param {Scene} scene
 * @param {Theme} theme
 */
function paintLanes(pen, width, store, scene, theme) {
  const pixels = Math.floor(width);
  const edges = pixelEdges(store, scene.axis, scene.span, pixels);
  const border = pixelOf(scene.span, width, scene.here);
  /** @type {{counts: Int32Array, y: number, color: string}[]} */
  const crowds = [];
  let most = 1;
  scene.lanes.forEach((name, place) => {
    const lane = store.lanes.get(name);
    if (!lane || scene.hidden.has(name)) return;
    const { shape, color } = scene.style(name);
    const y = place * LANE_HEIGHT + LANE_HEIGHT / 2 + 0.5;
    const [first, end] = [lane.before(edges[0]), lane.before(edges[pixels])];
    pen.fillStyle = pen.strokeStyle = theme.lanes[color];
    if (end - first > pixels / MARK_ROOM) {
      const counts = new Int32Array(pixels);
      most = Math.max(most, countPixels(lane, edges, counts));
      crowds.push({ counts, y, color: theme.lanes[color] });
    } else
      for (let n = first; n < end; n++) {
        const x = pixelOf(scene.span, width, placeOf(store, scene.axis, lane.rows[n]));
        pen.globalAlpha = x > border ? PALE : 1;
        drawMark(pen, shape, Math.min(Math.max(x, RADIUS + 1), width - RADIUS - 1), y, RADIUS);
      }
  });
  for (const { counts, y, color } of crowds) paintBars(pen, counts, most, y, color, border);
  pen.globalAlpha = 1;
}

/**
 * A crowded lane: bars around its middle, those of the recorded future paler.
 * @param {CanvasRenderingContext2D} pen
 * @param {Int32Array} counts
 * @param {number} most on any pixel of any lane
 * @param {number} y
 * @param {string} color
 * @param {number} border
 */
function paintBars(pen, counts, most, y, color, border) {
  const room = LANE_HEIGHT / 2 - 3;
  const cut = Math.min(Math.max(Math.ceil(border), 0), counts.length);
  pen.fillStyle = color;
  for (const [begin, end, alpha] of [[0, cut, 1], [cut, counts.length, PALE]]) {
    pen.globalAlpha = alpha;
    let start = begin;
    let half = 0;
    for (let x = begin; x <= end; x++) {
      const now = x < end && counts[x] ? Math.max(LEAST_BAR, Math.round(barHeight(counts[x], most) * room * 2) / 2) : 0;
      if (now === half && x < end) continue;
      if (half) pen.fillRect(start, y - half, x - start, 2 * half);
      [start, half] = [x, now];
    }
  }
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {number} width
 * @param {number} height
 * @param {ExitStore} store
 * @param {Scene} scene
 * @param {Theme} theme
 */
function paintSelection(pen, width, height, store, scene, theme) {
  if (!scene.selection) return;
  const [first, end] = scene.selection;
  const half = scene.axis === "exit" ? 0.5 : 0;
  const left = pixelOf(scene.span, width, placeOf(store, scene.axis, first) - half);
  const right = Math.max(pixelOf(scene.span, width, placeOf(store, scene.axis, end - 1) + half), left + 2);
  pen.fillStyle = pen.strokeStyle = theme.accent;
  pen.globalAlpha = 0.16;
  pen.fillRect(left, 0, right - left, height);
  pen.globalAlpha = 1;
  for (const x of [left, right]) pen.fillRect(Math.round(x) - 0.5, 0, 1.5, height);
}

/**
 * The present: a line, and behind it what is recorded but still to come.
 * @param {CanvasRenderingContext2D} pen
 * @param {number} width
 * @param {number} height
 * @param {Scene} scene
 * @param {Theme} theme
 */
function paintPresent(pen, width, height, scene, theme) {
  const x = pixelOf(scene.span, width, scene.here);
  if (x < -1 || x > width + 1) return;
  pen.fillStyle = theme.ink;
  pen.fillRect(Math.min(Math.round(x) - 1, width - 2), 0, 2, height + 4);
  pen.beginPath();
  const tip = Math.min(Math.round(x), width - 1);
  for (const [dx, dy] of [[-5, 9], [5, 9], [0, 2]]) pen.lineTo(tip + dx, height + dy);
  pen.fill();
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {number} width
 * @param {number} height
 * @param {ExitStore} store
 * @param {Scene} scene
 * @param {Theme} theme
 */
function paintCursor(pen, width, height, store, scene, theme) {
  if (scene.cursor === null || scene.cursor >= store.size) return;
  const x = pixelOf(scene.span, width, placeOf(store, scene.axis, scene.cursor));
  if (x < -8 || x > width + 8) return;
  pen.strokeStyle = theme.accent;
  pen.lineWidth = 1;
  pen.setLineDash([3, 3]);
  pen.strokeRect(Math.round(x) + 0.5, 0, 0, height);
  pen.setLineDash([]);
  pen.lineWidth = 2;
  for (const name of store.kindOf(scene.cursor).lanes) {
    const place = scene.lanes.indexOf(name);
    pen.beginPath();
    pen.arc(x, place * LANE_HEIGHT + LANE_HEIGHT / 2 + 0.5, RADIUS + 4, 0, 7);
    pen.stroke();
  }
}

/**
 * The strip above: all there is, each lane a thin line.
 * @param {HTMLCanvasElement} canvas
 * @param {number} width
 * @param {number} height
 * @param {ExitStore} store
 * @param {Scene} scene
 * @param {Theme} theme
 */
export function paintOverview(canvas, width, height, store, scene, theme) {
  const all = scene.all;
  const pen = sharpPen(canvas, width, height);
  if (!pen || width < 1) return;
  pen.clearRect(0, 0, width, height);
  if (!store.size) return;
  const edges = pixelEdges(store, scene.axis, all, Math.floor(width));
  const counts = new Int32Array(edges.length - 1);
  const border = pixelOf(all, width, scene.here);
  const thick = Math.min(4, (height - 2) / scene.lanes.length);
  const top = (height - thick * scene.lanes.length) / 2;
  scene.lanes.forEach((name, place) => {
    const lane = store.lanes.get(name);
    if (!lane || scene.hidden.has(name)) return;
    const most = countPixels(lane, edges, counts);
    pen.fillStyle = theme.lanes[scene.style(name).color];
    paintLine(pen, counts, most, top + place * thick, Math.max(1, thick - 1), border);
  });
  pen.globalAlpha = 1;
}

/**
 * One lane of the strip; darker where there are more exits.
 * @param {CanvasRenderingContext2D} pen
 * @param {Int32Array} counts
 * @param {number} most
 * @param {number} y
 * @param {number} thick
 * @param {number} border
 */
function paintLine(pen, counts, most, y, thick, border) {
  let start = 0;
  let alpha = 0;
  for (let x = 0; x <= counts.length; x++) {
    const strong = x < counts.length && counts[x] ? 0.35 + 0.65 * Math.round(barHeight(counts[x], most) * 4) / 4 : 0;
    const now = x > border ? strong * 0.5 : strong;
    if (now === alpha && x < counts.length) continue;
    pen.globalAlpha = alpha;
    if (alpha) pen.fillRect(start, y, x - start, thick);
    [start, alpha] = [x, now];
  }
}
