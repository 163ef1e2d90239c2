/** Lanes and events of the debug registers, from a history as the kernel tells it. */
import { describe, expect, it } from "vitest";
import { drEvents, drEventWhen, drExtent, drLanes, drNextEvent, drPart } from "../../kvmdbg/jupyter/widgets/esm/debugregs_history.js";
import { drBoxes, drPointers, drSnap } from "../../kvmdbg/jupyter/widgets/esm/debugregs_lanes.js";

const history = {
  by: "clock",
  here: 40,
  width: 2,
  causes: { B0: [[3, 1], [10, 5]], BS: [[4, 2]], BD: [[10, 1]] },
  armed: [[[2, 20]], [], [], []],
  changes: [
    { clock: 4, side: "host", name: "DR0", value: "0x9000", words: "0x9000" },
    { clock: 4, side: "host", name: "DR7", value: "0xd0602", words: "1 slot on, GE" },
    { clock: 30, side: "guest", name: "DR7", value: "0x402", words: "1 slot on" },
  ],
};
const lanes = () => Object.fromEntries(drLanes(history, drExtent(history, 100)).map((lane) => [lane.name, lane]));

describe("lanes", () => {
  it("reach to the end of the recording, or to the present where there is none", () => {
    expect(drExtent(history, 100)).toBe(100);
    expect(drExtent(history, -1)).toBe(40);
  });

  it("count a slot's hits, and in DR6 the causes that are no slot's", () => {
    expect([lanes().DR0.total, lanes().DR1.total, lanes().DR6.total]).toEqual([6, 0, 3]);
  });

  it("show a slot as armed up to the present at most", () => {
    const [[from, to]] = lanes().DR0.armed;
    expect([from, to]).toEqual([4 / 101, 41 / 101]);
  });

  it("put a change where its clock is", () => {
    expect(lanes().DR7.changes).toEqual([
      { at: drPart(4, 100), side: "host" },
      { at: drPart(30, 100), side: "guest" },
    ]);
  });

  it("say in words what they show", () => {
    expect(lanes().DR0.words).toBe("hit 6 times, 1 change");
    expect(lanes().DR1.words).toBe("never armed");
  });

  it("stay inside their width", () => {
    for (const lane of Object.values(lanes()))
      for (const [from, to] of [...lane.armed, ...lane.hits]) {
        expect(from).toBeGreaterThanOrEqual(0);
        expect(to).toBeLessThanOrEqual(1);
      }
  });
});

describe("events", () => {
  const events = drEvents(history);

  it("come in the order of their clocks, steps left out, those of one moment together", () => {
    expect(events.map((event) => event.clock)).toEqual([4, 6, 20, 30]);
    expect(events[0].says).toHaveLength(2);
    expect(events[2].says).toEqual(["DR0 hit 5 times", "MOV DR met general detect"]);
  });

  it("say which clocks a bin holds", () => {
    expect(drEventWhen(events[2], "clock")).toBe("clock 20-21");
    expect(drEventWhen(events[0], "clock")).toBe("clock 4");
  });

  it("are reached one after the other, and there is none behind the last", () => {
    expect(drNextEvent(events, 4, 1)?.clock).toBe(6);
    expect(drNextEvent(events, 20, -1)?.clock).toBe(6);
    expect(drNextEvent(events, 30, 1)).toBeNull();
  });

  it("are what a click near to them means", () => {
    expect(drSnap(drPart(20, 100) + 0.01, events, 100)).toBe(20);
    expect(drSnap(drPart(60, 100), events, 100)).toBe(60);
    expect(drSnap(1, events, 100)).toBe(100);
  });
});

describe("drawing", () => {
  it("keeps a mark wide enough to be seen, and inside", () => {
    expect(drBoxes([[0.9999, 1, 1]], 10, 8)).toBe("M997.0 2.0h3.0v8.0h-3.0z");
  });

  it("points down for the host and up for the guest", () => {
    expect(drPointers([{ at: 0.5, side: "host" }])).toBe("M495.0 0h10l-5 9z");
    expect(drPointers([{ at: 0.5, side: "guest" }])).toBe("M495.0 24h10l-5 -9z");
  });
});
