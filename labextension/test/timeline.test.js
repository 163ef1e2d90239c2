// The exit timeline as a view, with a kernel that is played: what it asks, shows and says.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Channel } from "../../kvmdbg/jupyter/widgets/esm/channel.js";
import { timelineView } from "../../kvmdbg/jupyter/widgets/esm/timeline.js";

const KINDS = [
  { lanes: ["step"], words: "DEBUG step" },
  { lanes: ["INT3", "guest's own"], words: "DEBUG #BP, the guest's own" },
];

/** A kernel with `total` exits, of which every tenth is the guest's own INT3. */
class Kernel {
  constructor(total) {
    Object.assign(this, { total, here: total, epoch: 1, told: 0, bookmarks: {}, asked: [], has_clock: true });
    this.answers = {};
    this.channel = new Channel({ hear: (heard) => (this.heard = heard), send: (message) => this.receive(message), onLost: () => {} });
  }

  say(message, buffers = []) {
    this.heard({ v: 1, ...message }, buffers);
  }

  snapshot(fields = {}, buffers = []) {
    const exits = { epoch: this.epoch, total: this.total, here: this.here, has_clock: this.has_clock, told_from: this.told };
    this.say({ op: "snapshot", says: "stopped", state: "stopped", clock: this.here * 2, bookmarks: this.bookmarks, parts: { exits }, ...fields }, buffers);
  }

  rows(column, from, to = this.total) {
    const values = Array.from({ length: to - from }, (_, n) => (column === "clock" ? 2 * (from + n) : (from + n) % 10 === 9 ? 1 : 0));
    const data = column === "clock" ? Float64Array.from(values) : Uint8Array.from(values);
    const rows = { op: "exits", epoch: this.epoch, column, from, count: values.length, total: to, codes: KINDS };
    return [rows, new DataView(data.buffer)];
  }

  sayRows(column, from) {
    const [rows, data] = this.rows(column, from);
    this.say(rows, [data]);
  }

  /** A snapshot that brings its new exits along. */
  grow(count) {
    const from = this.total;
    this.here = this.total += count;
    const along = [this.rows("code", from), this.rows("clock", from)];
    this.snapshot({ rows: along.map(([rows]) => rows) }, along.map(([, data]) => data));
  }

  receive(message) {
    this.asked.push(message);
    const answer = this.answers[message.op] ?? { ok: true, says: `${message.op} done` };
    setTimeout(() => {
      if (message.op === "hello") this.snapshot();
      if (message.op === "exits") this.sayRows(message.column, message.from);
      this.say({ op: "answer", to: message.view, id: message.id, ...answer });
    }, 1);
  }

  all(op) {
    return this.asked.filter((message) => message.op === op).map(({ v, op: _, view, id, ...fields }) => fields);
  }
}

let root;
let kernel;
let unmount;
let resize;

async function mounted(total = 100) {
  kernel = new Kernel(total);
  root = document.body.appendChild(document.createElement("div"));
  kernel.channel.want(timelineView.parts);
  unmount = timelineView.mount(root, kernel.channel, {});
  await vi.advanceTimersByTimeAsync(300);
}

async function press(...keys) {
  for (const key of keys) {
    const [name, shiftKey] = key.startsWith("Shift+") ? [key.slice(6), true] : [key, false];
    root.querySelector("[role=application]").dispatchEvent(new KeyboardEvent("keydown", { key: name, shiftKey, bubbles: true, cancelable: true }));
  }
  await vi.advanceTimersByTimeAsync(300);
}

async function use(name) {
  [...root.querySelectorAll("button")].find((button) => (button.getAttribute("aria-label") ?? button.textContent) === name).click();
  await vi.advanceTimersByTimeAsync(300);
}

const said = () => root.querySelector(".kvmdbg-says").textContent;
const tables = () => [...root.querySelectorAll("table")];
const cells = (table) => [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent));

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "requestAnimationFrame"] });
  vi.stubGlobal("ResizeObserver", class {
    constructor(resized) {
      this.resized = resize = (width) => resized([{ contentRect: { width } }]);
    }

    observe() {
      this.resized(800);
    }

    disconnect() {}
  });
  vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockReturnValue(null);
});

afterEach(() => {
  unmount();
  root.remove();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

describe("what it brings from the kernel", () => {
  test("it asks for the kinds, and for clocks only when they are needed", async () => {
    await mounted();
    expect(kernel.all("exits")).toEqual([{ epoch: 1, column: "code", from: 0 }]);
    expect(root.dataset).toMatchObject({ total: "100", lanes: "step|INT3|guest's own", from: "0", to: "100" });
    await use("Table");
    expect(kernel.all("exits")[1]).toEqual({ epoch: 1, column: "clock", from: 0 });
  });

  test("what is pushed is not asked for", async () => {
    await mounted();
    kernel.total = kernel.here = 110;
    kernel.snapshot();
    kernel.sayRows("code", 100);
    await vi.advanceTimersByTimeAsync(300);
    expect(kernel.all("exits").length).toBe(1);
    expect(root.dataset.total).toBe("110");
  });

  test("what a snapshot brings along is not asked for", async () => {
    await mounted();
    const before = kernel.all("exits").length;
    kernel.grow(5);
    await vi.advanceTimersByTimeAsync(300);
    expect(kernel.all("exits")).toHaveLength(before);
    expect(root.querySelector(".kvmdbg-tl-summary").textContent).toContain("105 exits");
  });

  test("what was missed is asked for", async () => {
    await mounted();
    kernel.total = kernel.here = 130;
    kernel.snapshot();
    await vi.advanceTimersByTimeAsync(300);
    expect(kernel.all("exits")[1]).toEqual({ epoch: 1, column: "code", from: 100 });
    expect(root.dataset.total).toBe("130");
  });

  test("another epoch voids what there was", async () => {
    await mounted();
    Object.assign(kernel, { epoch: 2, total: 7, here: 7 });
    kernel.snapshot();
    await vi.advanceTimersByTimeAsync(300);
    expect(root.dataset).toMatchObject({ total: "7", to: "7", lanes: "step" });
  });

  test("rows that come while the guest runs are seen at once", async () => {
    await mounted();
    kernel.say({ op: "running", says: "running", seconds: 1 });
    kernel.total = 200;
    kernel.sayRows("code", 100);
    await vi.advanceTimersByTimeAsync(40);
    expect(root.dataset).toMatchObject({ total: "200", to: "200" });
  });

  test("many changes are one frame", async () => {
    await mounted();
    const before = Number(root.dataset.frames);
    for (let n = 0; n < 50; n++) kernel.snapshot();
    await vi.advanceTimersByTimeAsync(20);
    expect(Number(root.dataset.frames) - before).toBe(1);
  });
});

describe("what it asks of the kernel", () => {
  test("Enter travels to the exit at the cursor, and what came of it is said", async () => {
    await mounted();
    kernel.answers.do = { ok: true, says: "back at clock 0: single step" };
    await press("Home", "Enter");
    expect(kernel.all("do")).toEqual([{ action: "goto", exit: 0, epoch: 1 }]);
    expect(said()).toBe("back at clock 0: single step");
  });

  test("a stale click is told so", async () => {
    await mounted();
    kernel.answers.do = { ok: false, says: "the exits are others now: look again" };
    await press("End", "Enter");
    expect(said()).toBe("the exits are others now: look again");
  });

  test("an exit at which the cursor rests is described and read out", async () => {
    await mounted();
    const data = { words: "DEBUG step", facts: [["at", "<b>loop</b>"]] };
    kernel.answers.exit = { ok: true, says: "exit 2: DEBUG step at loop", data };
    await press("Home", "ArrowRight", "ArrowRight");
    expect(kernel.all("exit")).toEqual([{ exit: 2, epoch: 1 }]);
    expect(said()).toBe("exit 2: DEBUG step at loop");
    expect(root.querySelector(".kvmdbg-tl-box dd").textContent).toBe("<b>loop</b>");
  });

  test("b names the present moment", async () => {
    await mounted();
    await press("b");
    const field = root.querySelector("form input");
    field.value = "there";
    field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
    await vi.advanceTimersByTimeAsync(10);
    expect(kernel.all("bookmark")).toEqual([{ name: "there" }]);
    expect(root.querySelector("form").hidden).toBe(true);
  });

  test("a bookmark is a flag that can be pressed", async () => {
    await mounted();
    kernel.bookmarks = { crash: 40 };
    kernel.snapshot();
    await vi.advanceTimersByTimeAsync(300);
    const flag = root.querySelector(".kvmdbg-tl-flag");
    expect(flag.textContent).toBe("⚑ crash");
    expect(flag.style.transform).toBe("translateX(168px)");
    flag.click();
    expect(kernel.all("do")).toEqual([{ action: "goto", name: "crash" }]);
  });

  test("a bookmark that is gone has no flag", async () => {
    await mounted();
    kernel.bookmarks = { crash: 40 };
    kernel.snapshot();
    await vi.advanceTimersByTimeAsync(300);
    kernel.bookmarks = {};
    kernel.snapshot();
    await vi.advanceTimersByTimeAsync(300);
    expect(root.querySelector(".kvmdbg-tl-flag")).toBe(null);
  });
});

describe("what it shows in words", () => {
  test("the table behind the picture has each lane's count, first and last exit", async () => {
    await mounted();
    expect(cells(tables()[0])).toEqual([
      ["step", "90", "0", "98"],
      ["INT3", "10", "9", "99"],
      ["guest's own", "10", "9", "99"],
    ]);
  });

  test("the tables are read out even while they are not seen, and hold no button then", async () => {
    await mounted();
    expect(root.querySelector(".kvmdbg-tl-tables").className).toContain("kvmdbg-spoken");
    expect(tables()[1].querySelectorAll("button").length).toBe(0);
    await use("Table");
    expect(root.querySelector(".kvmdbg-tl-tables").className).not.toContain("kvmdbg-spoken");
    expect(tables()[1].querySelectorAll("button").length).toBe(20);
  });

  test("it says where it is not known whose an exit was", async () => {
    await mounted();
    expect(root.textContent).not.toContain("it was not kept");
    kernel.told = 30;
    kernel.snapshot();
    await vi.advanceTimersByTimeAsync(300);
    expect(root.textContent).toContain("Of exits before 30 it was not kept which were the guest's own.");
  });

  test("a selection is counted, and can be asked for by a line of text", async () => {
    await mounted();
    await press("Home", "Shift+ArrowRight", "Shift+ArrowRight");
    const bar = root.querySelector(".kvmdbg-tl-selected");
    expect(bar.textContent).toContain("3 exits selected, exits 0 to 2: step 3");
    expect(bar.querySelector("code").textContent).toBe("%vm timeline --between 0:4");
    await press("Escape");
    expect(bar.childElementCount).toBe(0);
  });

  test("a hidden lane is no step for the cursor, nor in the table", async () => {
    await mounted();
    root.querySelector('[data-lane="step"] input').click();
    await press("Home");
    expect(kernel.all("exit")).toEqual([{ exit: 9, epoch: 1 }]);
    expect(cells(tables()[1]).map((row) => row[0])).toEqual(["9", "19", "29", "39", "49", "59", "69", "79", "89", "99"]);
  });

  test("without a clock it says why it does not turn", async () => {
    await mounted();
    kernel.has_clock = false;
    kernel.snapshot();
    const choice = root.querySelector("select");
    choice.value = "clock";
    choice.dispatchEvent(new Event("change"));
    await vi.advanceTimersByTimeAsync(300);
    expect(said()).toBe("this engine counts no instructions: exits are shown by their number");
    expect(choice.value).toBe("exit");
  });

  test("by clock it first brings the clocks, then turns", async () => {
    await mounted();
    const choice = root.querySelector("select");
    choice.value = "clock";
    choice.dispatchEvent(new Event("change"));
    await vi.advanceTimersByTimeAsync(300);
    expect(kernel.all("exits")[1]).toEqual({ epoch: 1, column: "clock", from: 0 });
    expect([choice.value, root.dataset.to]).toEqual(["clock", "199"]);
  });
});

test("nothing is drawn where there is no room, and all when there is again", async () => {
  await mounted();
  resize(0);
  await vi.advanceTimersByTimeAsync(40);
  const { frames } = root.dataset;
  kernel.snapshot();
  await vi.advanceTimersByTimeAsync(40);
  expect(root.dataset.frames).toBe(frames);
  resize(300);
  await vi.advanceTimersByTimeAsync(40);
  expect(Number(root.dataset.frames)).toBe(Number(frames) + 1);
});

test("the keys are the timeline's own, not the notebook's", async () => {
  await mounted();
  const heard = vi.fn();
  document.addEventListener("keydown", heard);
  await press("b", "0");
  document.removeEventListener("keydown", heard);
  expect(heard).not.toHaveBeenCalled();
  expect(root.querySelector("[role=application]").dataset.lmSuppressShortcuts).toBe("true");
});

test("taken away it leaves nothing and asks nothing", async () => {
  await mounted();
  unmount();
  const asked = kernel.asked.length;
  kernel.total = 500;
  kernel.snapshot();
  await vi.advanceTimersByTimeAsync(1000);
  expect([root.childElementCount, kernel.asked.length]).toEqual([0, asked]);
});
