/**
 * What is seen of the exits and where the cursor is; every gesture and key changes this and nothing
 * else. Must not know: elements, canvases, or the kernel.
 */
import { laneStyle, orderedLanes } from "./timeline_lanes.js";
import { kept, nearestIn, panned, pixelOf, placeOf, revealing, rowAt, wholeAxis, zoomed } from "./timeline_scale.js";

/** @typedef {import("./exits.js").ExitStore} ExitStore */
/** @typedef {import("./timeline_scale.js").Axis} Axis */
/** @typedef {import("./timeline_scale.js").Span} Span */
/** @typedef {{total: number, here: number, has_clock: boolean, told_from: number}} Part */

const CLICK_ROOM = 14; // pixels around an exit that mean it

export class TimelineModel {
  /**
   * @param {ExitStore} store
   * @param {() => void} changed something is seen differently
   */
  constructor(store, changed) {
    this.store = store;
    this.changed = changed;
    /** @type {Axis} */
    this.axis = "exit";
    /** @type {Span} */
    this.span = { from: 0, to: 4 };
    /** All lanes, in their order. @type {string[]} */
    this.lanes = [];
    /** @type {Set<string>} */
    this.hidden = new Set();
    /** The present, on the axis. */
    this.here = 0;
    /** Whether exits of the recorded future are there. */
    this.ahead = false;
    /** Rows, the second one not included. @type {[number, number] | null} */
    this.selection = null;
    /** A row. @type {number | null} */
    this.cursor = null;
    /** The lane that the keys are in. @type {string | null} */
    this.lane = null;
    this.following = true;
    /** Whether everything is seen. */
    this.whole = true;
    /** Where a selection by keys began. @type {number | null} */
    this.anchor = null;
    this.epoch = store.epoch;
    this.size = 0;
  }

  /** @param {string} name */
  style(name) {
    return laneStyle(name, this.lanes);
  }

  get all() {
    return wholeAxis(this.store, this.axis);
  }

  get shown() {
    return [...this.store.lanes.values()].filter((lane) => !this.hidden.has(lane.name));
  }

  // What has come

  /**
   * Rows have come, or the present is another one.
   * @param {Part} part
   * @param {number} clock the present's
   */
  update(part, clock) {
    const { store } = this;
    if (this.epoch !== store.epoch) this.startOver();
    const size = store.placed(this.axis);
    const grown = this.size !== size;
    this.size = size;
    this.lanes = orderedLanes(store.lanes.keys());
    this.ahead = part.here < store.size;
    this.here = this.axis === "clock" ? Math.max(clock, this.all.from) : Math.min(part.here, store.size);
    this.span = this.followed(grown);
    this.changed();
  }

  startOver() {
    this.epoch = this.store.epoch;
    this.axis = "exit";
    this.whole = this.following = true;
    this.selection = this.cursor = this.anchor = null;
  }

  /**
   * The span after new rows: the same one, or with its end at the present.
   * @param {boolean} grown
   */
  followed(grown) {
    const { all, span } = this;
    if (!this.following) return kept(span, all);
    if (this.whole) return all;
    if (this.ahead) return kept(revealing(span, this.here, all), all);
    return grown ? kept({ from: all.to - (span.to - span.from), to: all.to }, all) : kept(span, all);
  }

  // The window

  /** @param {Span} span */
  see(span) {
    const all = this.all;
    this.span = kept(span, all);
    this.whole = this.span.from <= all.from && this.span.to >= all.to;
    this.following = this.span.to >= all.to;
    this.changed();
  }

  /** @param {number} by in windows */
  pan(by) {
    this.see(panned(this.span, by * (this.span.to - this.span.from), this.all));
  }

  /**
   * @param {number} factor
   * @param {number} [part] what stays where it is, from 0 (left) to 1; else the cursor, or the middle
   */
  zoom(factor, part = this.middle) {
    this.see(zoomed(this.span, factor, this.at(part), this.all));
  }

  get middle() {
    const part = this.cursor === null ? 0.5 : pixelOf(this.span, 1, placeOf(this.store, this.axis, this.cursor));
    return part >= 0 && part <= 1 ? part : 0.5;
  }

  /**
   * The point of the axis at a part of the width.
   * @param {number} part
   */
  at(part) {
    return this.span.from + part * (this.span.to - this.span.from);
  }

  /**
   * Keep the newest exits in sight or, after going back, the present.
   * @param {boolean} on
   */
  follow(on) {
    const { all, span } = this;
    if (on) this.see(this.ahead ? revealing(span, this.here, all) : { from: all.to - (span.to - span.from), to: all.to });
    this.following = on;
    this.changed();
  }

  /**
   * The same exits on the other axis.
   * @param {Axis} axis
   * @param {Part} part
   * @param {number} clock
   */
  turn(axis, part, clock) {
    const { store } = this;
    if (axis === this.axis || !store.size) return;
    const first = Math.min(rowAt(store, this.axis, this.span.from), store.size - 1);
    const last = Math.max(first, rowAt(store, this.axis, this.span.to) - 1);
    const { whole, following } = this;
    this.axis = axis;
    const [before, behind] = axis === "exit" ? [0.5, 0.5] : [0, 1];
    this.see(whole ? this.all : { from: placeOf(store, axis, first) - before, to: placeOf(store, axis, last) + behind });
    this.following = following;
    this.update(part, clock);
  }

  /**
   * @param {string} name
   * @param {boolean} on
   */
  show(name, on) {
    if (on) this.hidden.delete(name);
    else this.hidden.add(name);
    this.changed();
  }

  // Exits

  /**
   * The exit that is meant by a point of a lane.
   * @param {string} name
   * @param {number} x in pixels
   * @param {number} width
   */
  hit(name, x, width) {
    const lane = this.store.lanes.get(name);
    if (!lane || this.hidden.has(name)) return null;
    const row = nearestIn(this.store, this.axis, lane, this.at(x / width));
    if (row === null) return null;
    return Math.abs(pixelOf(this.span, width, placeOf(this.store, this.axis, row)) - x) <= CLICK_ROOM ? row : null;
  }

  /**
   * Select what lies between two parts of the width.
   * @param {number} one
   * @param {number} other
   */
  brush(one, other) {
    const first = rowAt(this.store, this.axis, this.at(Math.min(one, other)));
    const end = rowAt(this.store, this.axis, this.at(Math.max(one, other)));
    this.select(end > first ? [first, end] : null);
  }

  /** @param {[number, number] | null} rows */
  select(rows) {
    this.selection = rows;
    if (!rows) this.anchor = null;
    this.changed();
  }

  zoomToSelection() {
    if (!this.selection) return;
    const [first, end] = this.selection;
    const room = this.axis === "exit" ? 0.5 : 1;
    this.see({ from: placeOf(this.store, this.axis, first) - room, to: placeOf(this.store, this.axis, end - 1) + room });
  }

  /**
   * The next exit that is shown, or that is in the cursor's lane; null if there is none.
   * @param {1 | -1} way
   * @param {boolean} sameLane
   */
  next(way, sameLane) {
    const { store } = this;
    const start = this.cursor ?? rowAt(store, this.axis, this.here) - (way > 0 ? 1 : 0);
    const lane = store.lanes.get(this.lane ?? store.kindOf(Math.max(start, 0)).lanes[0]);
    return store.neighbour(sameLane && lane ? [lane] : this.shown, start, way);
  }

  /**
   * The first or the last exit that is shown.
   * @param {1 | -1} way
   */
  outermost(way) {
    return this.store.neighbour(this.shown, way > 0 ? -1 : this.store.size, way);
  }

  /**
   * @param {number} row
   * @param {boolean} selecting from where the cursor was
   */
  putCursor(row, selecting) {
    const { store } = this;
    const lanes = store.kindOf(row).lanes;
    if (selecting) {
      this.anchor ??= this.cursor ?? row;
      this.selection = [Math.min(this.anchor, row), Math.max(this.anchor, row) + 1];
    } else this.anchor = null;
    this.cursor = row;
    if (!lanes.includes(this.lane ?? "")) this.lane = lanes.find((name) => !this.hidden.has(name)) ?? null;
    this.see(revealing(this.span, placeOf(store, this.axis, row), this.all));
  }

  /**
   * The exit nearest to the cursor in the lane above or below; null if there are none.
   * @param {1 | -1} way
   */
  nextLane(way) {
    const shown = this.lanes.filter((name) => !this.hidden.has(name));
    if (!shown.length) return null;
    const place = shown.indexOf(this.lane ?? "");
    this.lane = shown[place < 0 ? 0 : Math.min(Math.max(place + way, 0), shown.length - 1)];
    const at = this.cursor === null ? this.at(0.5) : placeOf(this.store, this.axis, this.cursor);
    return nearestIn(this.store, this.axis, this.store.lane(this.lane), at);
  }
}
