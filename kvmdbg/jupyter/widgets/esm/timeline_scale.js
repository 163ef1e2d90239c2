/**
 * The numbers behind the exit timeline: which part of the axis is seen, which exits fall on which
 * pixel, where the ticks are. Must not know: canvases, elements, or the kernel.
 */
import { lowerBound } from "./exits.js";

/** @typedef {import("./exits.js").ExitStore} ExitStore */
/** @typedef {import("./exits.js").LaneRows} LaneRows */
/** @typedef {"exit" | "clock"} Axis */
/**
 * A part of the axis, in exits or in instructions.
 * @typedef {{from: number, to: number}} Span
 */

const LEAST = 4; // exits or instructions: nearer one does not come

const GROUPED = new Intl.NumberFormat("en-US"); // made once: toLocaleString is slow in a frame

/** @param {number} value */
export function grouped(value) {
  return GROUPED.format(Math.round(value));
}

/**
 * @param {number} count
 * @param {string} noun
 */
export function counted(count, noun) {
  return `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/**
 * All there is on an axis.
 * @param {ExitStore} store
 * @param {Axis} axis
 * @returns {Span}
 */
export function wholeAxis(store, axis) {
  const size = store.placed(axis);
  if (axis === "exit" || !size) return { from: 0, to: Math.max(LEAST, size) };
  const from = store.clock[0];
  return { from, to: Math.max(from + LEAST, store.clock[size - 1] + 1) };
}

/**
 * A span of the same length inside `all`, or all of it.
 * @param {Span} span
 * @param {Span} all
 * @returns {Span}
 */
export function kept(span, all) {
  const length = Math.min(Math.max(span.to - span.from, LEAST), all.to - all.from);
  const from = Math.min(Math.max(span.from, all.from), all.to - length);
  return { from, to: from + length };
}

/**
 * Nearer (`factor` below 1) or farther, with the place `at` where it is.
 * @param {Span} span
 * @param {number} factor
 * @param {number} at
 * @param {Span} all
 */
export function zoomed(span, factor, at, all) {
  const length = Math.min(Math.max((span.to - span.from) * factor, LEAST), all.to - all.from);
  const from = at - ((at - span.from) / (span.to - span.from)) * length;
  return kept({ from, to: from + length }, all);
}

/**
 * @param {Span} span
 * @param {number} by in exits or instructions
 * @param {Span} all
 */
export function panned(span, by, all) {
  return kept({ from: span.from + by, to: span.to + by }, all);
}

/**
 * Moved as little as needed for `at` to be inside, with some room around it.
 * @param {Span} span
 * @param {number} at
 * @param {Span} all
 */
export function revealing(span, at, all) {
  const room = (span.to - span.from) * 0.1;
  if (at < span.from) return panned(span, at - room - span.from, all);
  if (at > span.to) return panned(span, at + room - span.to, all);
  return span;
}

/**
 * Where a point of the axis is, in pixels.
 * @param {Span} span
 * @param {number} width
 * @param {number} at
 */
export function pixelOf(span, width, at) {
  return ((at - span.from) / (span.to - span.from)) * width;
}

/**
 * Where a row is on the axis: the middle of its place, or its clock.
 * @param {ExitStore} store
 * @param {Axis} axis
 * @param {number} row
 */
export function placeOf(store, axis, row) {
  return axis === "exit" ? row + 0.5 : store.clock[row];
}

/**
 * The first row whose place is not before a point of the axis.
 * @param {ExitStore} store
 * @param {Axis} axis
 * @param {number} at
 */
export function rowAt(store, axis, at) {
  if (axis === "clock") return lowerBound(store.clock, at, 0, store.placed(axis));
  return Math.min(Math.max(Math.ceil(at - 0.5), 0), store.size);
}

/**
 * The rows at the borders of each pixel: pixel `n` has those from `edges[n]` up to `edges[n + 1]`.
 * @param {ExitStore} store
 * @param {Axis} axis
 * @param {Span} span
 * @param {number} pixels
 */
export function pixelEdges(store, axis, span, pixels) {
  const edges = new Int32Array(pixels + 1);
  const step = (span.to - span.from) / pixels;
  if (axis === "exit") {
    for (let n = 0; n <= pixels; n++) edges[n] = rowAt(store, axis, span.from + n * step);
    return edges;
  }
  const size = store.placed(axis);
  for (let n = 0, row = 0; n <= pixels; n++) {
    row = lowerBound(store.clock, span.from + n * step, row, size);
    edges[n] = row;
  }
  return edges;
}

/**
 * How many exits of a lane fall on each pixel; gives back the most on one.
 * @param {LaneRows} lane
 * @param {Int32Array} edges
 * @param {Int32Array} counts filled
 */
export function countPixels(lane, edges, counts) {
  const { rows, size } = lane;
  let most = 0;
  let place = lane.before(edges[0]);
  for (let n = 1; n < edges.length; n++) {
    const from = place;
    const edge = edges[n];
    let reach = 1;
    while (place + reach < size && rows[place + reach] < edge) {
      place += reach;
      reach *= 2;
    }
    place = lowerBound(rows, edge, place, Math.min(size, place + reach));
    counts[n - 1] = place - from;
    if (place - from > most) most = place - from;
  }
  return most;
}

/**
 * The exit of a lane that lies nearest to a point of the axis; null if the lane is empty.
 * @param {ExitStore} store
 * @param {Axis} axis
 * @param {LaneRows} lane
 * @param {number} at
 */
export function nearestIn(store, axis, lane, at) {
  const place = lane.before(rowAt(store, axis, at));
  const places = [place - 1, place].filter((n) => n >= 0 && n < lane.size);
  const near = places.map((n) => lane.rows[n]).filter((row) => row < store.placed(axis));
  if (!near.length) return null;
  const far = (/** @type {number} */ row) => Math.abs(placeOf(store, axis, row) - at);
  return near.reduce((best, row) => (far(row) < far(best) ? row : best));
}

/**
 * Round numbers inside a span, some `room` pixels apart at least.
 * @param {Span} span
 * @param {number} pixels
 * @param {number} room
 */
export function ticksIn(span, pixels, room) {
  const least = ((span.to - span.from) / Math.max(pixels, 1)) * room;
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1)));
  const step = Math.max(1, [1, 2, 5, 10].map((n) => n * power).find((n) => n >= least) ?? power);
  const ticks = [];
  for (let at = Math.ceil(span.from / step) * step; at <= span.to; at += step) ticks.push(at);
  return ticks;
}

/**
 * How high a pixel's bar is, from 0 to 1: logarithmic, so that one exit among thousands is seen.
 * @param {number} count
 * @param {number} most
 */
export function barHeight(count, most) {
  return count ? Math.log1p(count) / Math.log1p(most) : 0;
}

/**
 * The line that asks for a range of exits; null without clocks, by which it is asked.
 * @param {ExitStore} store
 * @param {number} first
 * @param {number} end
 */
export function queryFor(store, first, end) {
  const [one, two] = [store.clockOf(first), store.clockOf(end - 1)];
  return one === null || two === null ? null : `%vm timeline --between ${one}:${two}`;
}
