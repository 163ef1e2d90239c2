// What gestures and keys do to what is seen.
import { beforeEach, describe, expect, test } from "vitest";
import { ExitStore } from "../../kvmdbg/jupyter/widgets/esm/exits.js";
import { TimelineModel } from "../../kvmdbg/jupyter/widgets/esm/timeline_model.js";
import { keyMeaning, wheelFactor } from "../../kvmdbg/jupyter/widgets/esm/timeline_input.js";
import { laneStyle, orderedLanes } from "../../kvmdbg/jupyter/widgets/esm/timeline_lanes.js";
import { laneCounts, listedRows, selectionWords } from "../../kvmdbg/jupyter/widgets/esm/timeline_panels.js";

const KINDS = [
  { lanes: ["step"], words: "DEBUG step" },
  { lanes: ["INT3"], words: "DEBUG #BP" },
  { lanes: ["IO"], words: "IO" },
];
let store;
let model;

function add(count, { clocks = false } = {}) {
  const from = store.size;
  const values = Uint8Array.from({ length: count }, (_, n) => ((from + n) % 10 === 5 ? 1 : (from + n) % 10 === 8 ? 2 : 0));
  store.take({ epoch: 1, column: "code", from, count, codes: KINDS }, values.buffer);
  if (clocks) store.take({ epoch: 1, column: "clock", from, count }, Float64Array.from(values, (_, n) => 3 * (from + n)).buffer);
  model.update(part(), 3 * (store.size - 1));
}

function part(here = store.size) {
  return { total: store.size, here, has_clock: true, told_from: 0 };
}

beforeEach(() => {
  store = new ExitStore();
  model = new TimelineModel(store, () => {});
});

describe("following", () => {
  test("whoever sees all goes on seeing all", () => {
    add(100);
    add(50);
    expect(model.span).toEqual({ from: 0, to: 150 });
  });

  test("a window at the end stays at the end", () => {
    add(100);
    model.see({ from: 90, to: 100 });
    add(50);
    expect(model.span).toEqual({ from: 140, to: 150 });
  });

  test("a window that was panned away stays where it is", () => {
    add(100);
    model.see({ from: 90, to: 100 });
    model.pan(-1);
    add(50);
    expect([model.following, model.span]).toEqual([false, { from: 80, to: 90 }]);
  });

  test("panning back to the end follows again, and so does the button", () => {
    add(100);
    model.see({ from: 20, to: 30 });
    model.pan(100);
    expect(model.following).toBe(true);
    model.see({ from: 20, to: 30 });
    model.follow(true);
    expect([model.following, model.span]).toEqual([true, { from: 90, to: 100 }]);
  });

  test("after going back the present comes into sight", () => {
    add(1000);
    model.see({ from: 900, to: 1000 });
    model.update(part(300), 900);
    expect([model.ahead, model.here]).toEqual([true, 300]);
    expect(model.span.from).toBeLessThan(300);
    expect(model.span.to).toBeGreaterThan(300);
  });

  test("to follow after going back is to see the present", () => {
    add(1000);
    model.see({ from: 0, to: 100 });
    model.update(part(500), 1500);
    expect(model.span).toEqual({ from: 0, to: 100 });
    model.follow(true);
    expect([model.following, model.span]).toEqual([true, { from: 410, to: 510 }]);
  });

  test("another epoch begins with everything in sight", () => {
    add(100);
    model.see({ from: 20, to: 30 });
    model.putCursor(25, false);
    store.begin(2);
    model.update(part(), -1);
    expect([model.whole, model.following, model.cursor, model.lanes]).toEqual([true, true, null, []]);
  });
});

describe("the cursor", () => {
  test("goes from exit to exit, over lanes that are shown", () => {
    add(40);
    model.show("step", false);
    model.putCursor(model.outermost(1), false);
    expect(model.cursor).toBe(5);
    model.putCursor(model.next(1, false), false);
    expect(model.cursor).toBe(8);
    model.putCursor(model.next(-1, false), false);
    expect([model.cursor, model.next(-1, false)]).toEqual([5, null]);
  });

  test("stays in its lane if asked to", () => {
    add(40);
    model.putCursor(5, false);
    expect([model.lane, model.next(1, true), model.next(-1, true)]).toEqual(["INT3", 15, null]);
  });

  test("begins at the present", () => {
    add(40);
    model.update(part(20), 60);
    expect([model.next(1, false), model.next(-1, false)]).toEqual([20, 19]);
  });

  test("is always in sight", () => {
    add(1000);
    model.see({ from: 0, to: 10 });
    model.putCursor(500, false);
    expect(model.span.from).toBeLessThanOrEqual(500);
    expect(model.span.to).toBeGreaterThan(500);
  });

  test("changes lanes to the nearest exit there", () => {
    add(40);
    model.putCursor(12, false);
    expect([model.nextLane(1), model.lane]).toEqual([15, "INT3"]);
  });
});

describe("selecting", () => {
  test("by keys begins at the cursor and goes both ways", () => {
    add(40);
    model.putCursor(10, false);
    model.putCursor(13, true);
    expect(model.selection).toEqual([10, 14]);
    model.putCursor(7, true);
    expect(model.selection).toEqual([7, 11]);
  });

  test("by a brush takes what lies between, whichever way it went", () => {
    add(100);
    model.brush(0.3, 0.2);
    expect(model.selection).toEqual([20, 30]);
    model.brush(0.5, 0.5);
    expect(model.selection).toBe(null);
  });

  test("can be zoomed to", () => {
    add(100);
    model.brush(0.2, 0.3);
    model.zoomToSelection();
    expect(model.span).toEqual({ from: 20, to: 30 });
  });

  test("tells its counts by lane", () => {
    add(100);
    model.brush(0.2, 0.3);
    expect(selectionWords(store, model)).toBe("10 exits selected, exits 20 to 29: step 8, INT3 1, IO 1");
    expect(laneCounts(store, ["INT3"], 0, 100)).toEqual([{ name: "INT3", count: 10, first: 5, last: 95 }]);
  });
});

describe("the table", () => {
  test("has the last exits, or the first selected ones, of the lanes shown", () => {
    add(100);
    expect(listedRows(store, model)).toEqual(Array.from({ length: 20 }, (_, n) => 80 + n));
    model.show("step", false);
    model.brush(0.2, 0.4);
    expect(listedRows(store, model)).toEqual([25, 28, 35, 38]);
  });
});

describe("by clock", () => {
  test("the same exits stay in sight", () => {
    add(100, { clocks: true });
    model.see({ from: 20, to: 30 });
    model.turn("clock", part(), 297);
    expect(model.span).toEqual({ from: 60, to: 88 });
    model.turn("exit", part(), 297);
    expect(model.span).toEqual({ from: 20, to: 30 });
  });

  test("the present is a clock", () => {
    add(100, { clocks: true });
    model.turn("clock", part(40), 120);
    expect([model.here, model.span]).toEqual([120, { from: 0, to: 298 }]);
  });

  test("rows whose clocks are still to come wait for them", () => {
    add(100, { clocks: true });
    model.turn("clock", part(), 297);
    add(50);
    expect(model.span).toEqual({ from: 0, to: 298 });
  });
});

describe("a point of the picture", () => {
  test("means the exit within reach, in its lane, if that is shown", () => {
    add(40);
    expect(model.hit("INT3", 112, 800)).toBe(5);
    expect(model.hit("INT3", 220, 800)).toBe(null);
    model.show("INT3", false);
    expect(model.hit("INT3", 112, 800)).toBe(null);
  });
});

describe("wheel and keys", () => {
  const wheel = { deltaY: 100, deltaMode: 0, ctrlKey: false, metaKey: false };

  test("a wheel belongs to the page unless the timeline has the focus, or with Ctrl", () => {
    expect(wheelFactor(wheel, false)).toBe(1);
    expect(wheelFactor(wheel, true)).toBeGreaterThan(1);
    expect(wheelFactor({ ...wheel, ctrlKey: true, deltaY: -100 }, false)).toBeLessThan(1);
  });

  const key = (key, more = {}) => keyMeaning({ key, shiftKey: false, ctrlKey: false, metaKey: false, altKey: false, ...more });

  test("keys with Ctrl are the browser's", () => {
    expect([key("0", { ctrlKey: true }), key("x"), key("Tab")]).toEqual([null, null, null]);
  });

  test("Shift selects where the cursor moves", () => {
    expect(key("ArrowRight", { shiftKey: true })).toEqual({ name: "next", selecting: true });
    expect(key("+", { shiftKey: true })).toEqual({ name: "nearer", selecting: false });
  });
});

describe("lanes", () => {
  const names = ["step", "INT3", "DR0", "DR1", "DR2", "DR3", "GD", "task", "guest's own", "DEBUG other"];

  test("have an order, strangers at the end", () => {
    expect(orderedLanes(["zoo", "IO", "step", "INT3", "ape"])).toEqual(["step", "INT3", "IO", "ape", "zoo"]);
  });

  test("have a shape that no other one has", () => {
    const all = [...names, "EXCEPTION", "IO", "MMIO", "HLT", "INTR", "SHUTDOWN", "FAIL_ENTRY", "INTERNAL_ERROR"];
    expect(new Set(all.map((name) => laneStyle(name, all).shape)).size).toBe(all.length);
  });
});
