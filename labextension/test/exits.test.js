// The store of exits: columns that only grow within an epoch, and the rows of each lane.
import { describe, expect, test } from "vitest";
import { ExitStore, lowerBound, roomFor } from "../../kvmdbg/jupyter/widgets/esm/exits.js";

const KINDS = [
  { lanes: ["step"], words: "DEBUG step" },
  { lanes: ["DR1", "step"], words: "DEBUG DR1, step" },
  { lanes: ["IO"], words: "IO" },
];

function codes(from, values, epoch = 1) {
  return [{ epoch, column: "code", from, count: values.length, codes: KINDS }, new DataView(Uint8Array.from(values).buffer)];
}

function clocks(from, values, epoch = 1) {
  return [{ epoch, column: "clock", from, count: values.length }, new DataView(Float64Array.from(values).buffer)];
}

function rows(store, name) {
  const lane = store.lanes.get(name);
  return lane ? [...lane.rows.subarray(0, lane.size)] : [];
}

describe("a store", () => {
  test("puts an exit into each of its lanes", () => {
    const store = new ExitStore();
    expect(store.take(...codes(0, [0, 1, 2, 0]))).toBe(true);
    expect(rows(store, "step")).toEqual([0, 1, 3]);
    expect(rows(store, "DR1")).toEqual([1]);
    expect(rows(store, "IO")).toEqual([2]);
    expect(store.kindOf(1).words).toBe("DEBUG DR1, step");
  });

  test("grows by what is new of a message", () => {
    const store = new ExitStore();
    store.take(...codes(0, [0, 1]));
    expect(store.take(...codes(1, [1, 2, 2]))).toBe(true);
    expect(store.size).toBe(4);
    expect(rows(store, "IO")).toEqual([2, 3]);
  });

  test("takes nothing twice, and nothing behind a gap", () => {
    const store = new ExitStore();
    store.take(...codes(0, [0, 1]));
    expect(store.take(...codes(0, [0, 1]))).toBe(false);
    expect(store.take(...codes(3, [0]))).toBe(false);
    expect(store.size).toBe(2);
  });

  test("forgets everything when a later epoch begins", () => {
    const store = new ExitStore();
    store.take(...codes(0, [0, 1]));
    store.take(...codes(0, [2], 2));
    expect([store.epoch, store.size, rows(store, "step"), rows(store, "IO")]).toEqual([2, 1, [], [0]]);
  });

  test("ignores what is left of an earlier epoch", () => {
    const store = new ExitStore();
    store.take(...codes(0, [2], 2));
    expect(store.take(...codes(1, [0, 0], 1))).toBe(false);
    expect(store.size).toBe(1);
  });

  test("has room for more rows than it began with", () => {
    const store = new ExitStore();
    store.take(...codes(0, new Array(5000).fill(0)));
    store.take(...codes(5000, new Array(5000).fill(2)));
    expect([store.size, store.lanes.get("step").size, store.lanes.get("IO").size]).toEqual([10000, 5000, 5000]);
    expect(store.lanes.get("IO").rows[4999]).toBe(9999);
  });

  test("calls a kind that the table does not have other", () => {
    const store = new ExitStore();
    store.take(...codes(0, [200]));
    expect(rows(store, "other")).toEqual([0]);
  });

  test("knows clocks apart from kinds, and when it can be searched", () => {
    const store = new ExitStore();
    store.take(...codes(0, [0, 0, 0]));
    expect([store.searchable, store.clockOf(0)]).toEqual([false, null]);
    store.take(...clocks(0, [5, 9, 9]));
    expect([store.searchable, store.clockOf(1), store.upTo(4), store.upTo(5), store.upTo(9)]).toEqual([true, 9, 0, 1, 3]);
  });

  test("does not search in clocks that go back", () => {
    const store = new ExitStore();
    store.take(...codes(0, [0, 0, 0]));
    store.take(...clocks(0, [5, 9]));
    store.take(...clocks(2, [8]));
    expect([store.rising, store.searchable]).toEqual([false, false]);
  });

  test("reads clocks that do not begin at a multiple of eight bytes", () => {
    const store = new ExitStore();
    const raw = new Uint8Array(3 + 16);
    raw.set(new Uint8Array(Float64Array.from([7, 8]).buffer), 3);
    store.take({ epoch: 1, column: "clock", from: 0, count: 2 }, new DataView(raw.buffer, 3));
    expect([...store.clock.subarray(0, 2)]).toEqual([7, 8]);
  });

  test("finds the neighbour of a row among some lanes", () => {
    const store = new ExitStore();
    store.take(...codes(0, [0, 2, 0, 1, 2]));
    const lane = (name) => store.lanes.get(name);
    expect(store.neighbour([lane("IO")], 1, 1)).toBe(4);
    expect(store.neighbour([lane("IO"), lane("DR1")], 1, 1)).toBe(3);
    expect(store.neighbour([lane("IO"), lane("DR1")], 4, -1)).toBe(3);
    expect(store.neighbour([lane("IO")], 1, -1)).toBe(null);
    expect(store.neighbour([lane("IO")], 4, 1)).toBe(null);
  });

  test("takes a million rows in less than a tenth of a second", () => {
    const values = Uint8Array.from({ length: 1e6 }, (_, n) => (n * 7) % 3);
    const message = { epoch: 1, column: "code", from: 0, count: 1e6, codes: KINDS };
    const spent = [1, 2, 3].map(() => {
      const store = new ExitStore();
      const began = performance.now();
      store.take(message, new DataView(values.buffer));
      return performance.now() - began;
    });
    expect(Math.min(...spent)).toBeLessThan(100);
  });
});

test("the lower bound is the first place that is not less", () => {
  const column = Int32Array.from([1, 3, 3, 7]);
  expect([0, 1, 2, 3, 4, 7, 8].map((value) => lowerBound(column, value, 0, 4))).toEqual([0, 0, 1, 1, 3, 3, 4]);
});

test("a column that has room is not copied", () => {
  const column = new Uint8Array(8);
  expect(roomFor(column, 8)).toBe(column);
  expect(roomFor(column, 9).length).toBeGreaterThan(8);
});
