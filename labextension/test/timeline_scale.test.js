// The numbers behind the timeline: windows, pixels, ticks, the query.
import { describe, expect, test } from "vitest";
import { ExitStore } from "../../kvmdbg/jupyter/widgets/esm/exits.js";
import {
  barHeight,
  countPixels,
  counted,
  grouped,
  kept,
  nearestIn,
  panned,
  pixelEdges,
  pixelOf,
  queryFor,
  revealing,
  rowAt,
  ticksIn,
  wholeAxis,
  zoomed,
} from "../../kvmdbg/jupyter/widgets/esm/timeline_scale.js";

function storeOf(values, clocks = []) {
  const store = new ExitStore();
  const kinds = [{ lanes: ["a"], words: "a" }, { lanes: ["b"], words: "b" }];
  store.take({ epoch: 1, column: "code", from: 0, count: values.length, codes: kinds }, Uint8Array.from(values).buffer);
  if (clocks.length) store.take({ epoch: 1, column: "clock", from: 0, count: clocks.length }, Float64Array.from(clocks).buffer);
  return store;
}

const ALL = { from: 0, to: 1000 };

describe("a window", () => {
  test("is kept inside of all there is", () => {
    expect(kept({ from: -50, to: 50 }, ALL)).toEqual({ from: 0, to: 100 });
    expect(kept({ from: 950, to: 1050 }, ALL)).toEqual({ from: 900, to: 1000 });
    expect(kept({ from: -50, to: 5000 }, ALL)).toEqual(ALL);
  });

  test("keeps the place at which it is zoomed", () => {
    const span = zoomed({ from: 200, to: 400 }, 0.5, 250, ALL);
    expect(span).toEqual({ from: 225, to: 325 });
    expect(pixelOf(span, 100, 250)).toBe(25);
  });

  test("never holds less than four exits, nor more than all", () => {
    expect(zoomed(ALL, 1e-9, 500, ALL)).toEqual({ from: 498, to: 502 });
    expect(zoomed({ from: 10, to: 20 }, 1e9, 15, ALL)).toEqual(ALL);
  });

  test("stops at the ends when it is panned", () => {
    expect(panned({ from: 100, to: 200 }, -500, ALL)).toEqual({ from: 0, to: 100 });
    expect(panned({ from: 100, to: 200 }, 5000, ALL)).toEqual({ from: 900, to: 1000 });
  });

  test("moves only as far as needed to show something", () => {
    const span = { from: 100, to: 200 };
    expect(revealing(span, 150, ALL)).toBe(span);
    expect(revealing(span, 300, ALL)).toEqual({ from: 210, to: 310 });
    expect(revealing(span, 50, ALL)).toEqual({ from: 40, to: 140 });
  });

  test("over all exits or all clocks", () => {
    const store = storeOf([0, 0, 0, 0, 0], [100, 101, 150, 150, 200]);
    expect(wholeAxis(store, "exit")).toEqual({ from: 0, to: 5 });
    expect(wholeAxis(store, "clock")).toEqual({ from: 100, to: 201 });
    expect(wholeAxis(new ExitStore(), "clock")).toEqual({ from: 0, to: 4 });
  });
});

describe("pixels", () => {
  test("share the exits out without losing one", () => {
    const values = Array.from({ length: 997 }, (_, n) => (n % 5 ? 0 : 1));
    const store = storeOf(values);
    for (const pixels of [1, 10, 333, 2000]) {
      const edges = pixelEdges(store, "exit", wholeAxis(store, "exit"), pixels);
      const counts = new Int32Array(pixels);
      for (const name of ["a", "b"]) {
        countPixels(store.lanes.get(name), edges, counts);
        expect(counts.reduce((sum, count) => sum + count)).toBe(store.lanes.get(name).size);
      }
    }
  });

  test("count what a plain loop counts, on either axis", () => {
    const values = Array.from({ length: 500 }, (_, n) => ((n * n) % 7 ? 0 : 1));
    let clock = 0;
    const store = storeOf(values, values.map((_, n) => (clock += (n * 31) % 17)));
    for (const axis of ["exit", "clock"]) {
      const all = wholeAxis(store, axis);
      const span = { from: all.from + (all.to - all.from) * 0.2, to: all.from + (all.to - all.from) * 0.7 };
      const counts = new Int32Array(64);
      const most = countPixels(store.lanes.get("b"), pixelEdges(store, axis, span, 64), counts);
      const plain = new Int32Array(64);
      values.forEach((value, row) => {
        const at = axis === "exit" ? row + 0.5 : store.clock[row];
        const pixel = Math.floor(pixelOf(span, 64, at));
        if (value === 1 && pixel >= 0 && pixel < 64) plain[pixel]++;
      });
      expect([...counts]).toEqual([...plain]);
      expect(most).toBe(Math.max(...plain));
    }
  });

  test("a bar is logarithmic, and one exit is seen beside a thousand", () => {
    expect([barHeight(0, 1000), barHeight(1000, 1000)]).toEqual([0, 1]);
    expect(barHeight(1, 1000)).toBeGreaterThan(0.09);
  });

  test("the nearest exit of a lane is found", () => {
    const store = storeOf([0, 1, 0, 0, 1, 0]);
    const lane = store.lanes.get("b");
    expect([0, 2.9, 3.2, 6].map((at) => nearestIn(store, "exit", lane, at))).toEqual([1, 1, 4, 4]);
  });

  test("rows without a clock yet have no place by clock", () => {
    const store = storeOf([1, 1, 1], [10, 20]);
    expect(nearestIn(store, "clock", store.lanes.get("b"), 99)).toBe(1);
    expect(rowAt(store, "clock", 99)).toBe(2);
  });
});

describe("words", () => {
  test("numbers are grouped by thousands", () => {
    expect([grouped(1234567), counted(1, "exit"), counted(2000, "exit")]).toEqual(["1,234,567", "1 exit", "2,000 exits"]);
  });

  test("ticks are round, whole, and have room", () => {
    expect(ticksIn({ from: 0, to: 1e6 }, 800, 100)).toEqual([0, 200000, 400000, 600000, 800000, 1000000]);
    expect(ticksIn({ from: 3, to: 7 }, 800, 100)).toEqual([3, 4, 5, 6, 7]);
    expect(ticksIn({ from: 123.4, to: 149.1 }, 400, 100)).toEqual([130, 140]);
  });

  test("the query names the first and the last clock of a range", () => {
    const store = storeOf([0, 0, 0, 0], [5, 9, 12, 40]);
    expect(queryFor(store, 1, 3)).toBe("%vm timeline --between 9:12");
  });

  test("without clocks there is no query", () => {
    expect(queryFor(storeOf([0, 0, 0]), 0, 2)).toBe(null);
    expect(queryFor(storeOf([0, 0], [-1, -1]), 0, 2)).toBe(null);
  });
});
