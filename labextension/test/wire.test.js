/** A conversation that a real kernel had (wire.json, written by tests/jupyter/test_wire.py), played to the views. */
import { beforeEach, describe, expect, it, vi } from "vitest";
import { Channel, connect } from "../../kvmdbg/jupyter/widgets/esm/channel.js";
import { debugregsView } from "../../kvmdbg/jupyter/widgets/esm/debugregs.js";
import { ExitStore } from "../../kvmdbg/jupyter/widgets/esm/exits.js";
import { framed, widget } from "../../kvmdbg/jupyter/widgets/esm/frame.js";
import { machineView } from "../../kvmdbg/jupyter/widgets/esm/machine.js";
import { timelineView } from "../../kvmdbg/jupyter/widgets/esm/timeline.js";
import said from "./wire.json";

/** @type {any[]} */
let sent;
/** @type {(message: any, buffers?: any[]) => void} */
let hear;
let lose = () => {};
/** @type {Channel} */
let channel;

const frames = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(resolve, 0))));
const snapshot = (serial = 1) => ({ ...said.snapshot, serial });

beforeEach(() => {
  document.body.replaceChildren();
  vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockReturnValue(null);
  globalThis.ResizeObserver ??= /** @type {any} */ (class { observe() {} unobserve() {} disconnect() {} });
  sent = [];
  channel = new Channel({
    send: (message) => void sent.push(message),
    hear: (heard) => void (hear = (message, buffers = []) => heard(message, buffers)),
    onLost: (lost) => void (lose = lost),
  });
});

describe("a channel", () => {
  it("greets the kernel with what its views want", () => {
    channel.want(["machine"]);
    channel.want(["exits", "machine"]);
    expect(sent.at(-1)).toMatchObject({ v: 1, op: "hello", view: channel.view, wants: ["exits", "machine"] });
  });
  it("takes back what a view wanted when it goes", () => {
    const end = channel.want(["machine"]);
    end();
    expect(sent.at(-1).wants).toEqual([]);
  });
  it("keeps the latest snapshot and tells who listens", () => {
    const listener = vi.fn();
    channel.on("snapshot", listener);
    hear(snapshot());
    expect(listener).toHaveBeenCalledOnce();
    expect(channel.snapshot.pc).toEqual(said.snapshot.pc);
    expect([channel.state, channel.says]).toEqual(["live", said.snapshot.says]);
  });
  it("puts a snapshot together from the one before and what has changed", () => {
    const without = ({ serial, buffers, v, ...rest }) => rest;
    hear({ ...said.before, serial: 6 });
    hear({ ...said.changed, since: 6, changes: { ...said.changed.changes, serial: [7] } });
    expect(without(channel.snapshot)).toEqual(without(said.after));
    expect(channel.snapshot.serial).toBe(7);
  });
  it("leaves what has not changed the same object", () => {
    hear({ ...said.before, serial: 6 });
    const { stack, registers } = channel.snapshot.parts.machine;
    hear({ ...said.changed, since: 6 });
    expect(channel.snapshot.parts.machine.stack).toBe(stack);
    expect(channel.snapshot.parts.machine.registers).not.toBe(registers);
  });
  it("asks for all where a snapshot in between never came", () => {
    hear({ ...said.before, serial: 6 });
    hear({ ...said.changed, since: 7 });
    expect(channel.snapshot.serial).toBe(6);
    expect(sent.at(-1)).toMatchObject({ op: "hello", changes: true });
  });
  it("gives each question its own answer", async () => {
    const [one, two] = [channel.ask("bp"), channel.ask("do")];
    hear({ ...said.refused, to: channel.view, id: sent[1].id });
    hear({ ...said.armed, to: channel.view, id: sent[0].id });
    expect(await one).toMatchObject({ ok: true, says: said.armed.says });
    expect(await two).toMatchObject({ ok: false, says: said.refused.says });
  });
  it("leaves the answers of other pages alone", () => {
    const done = vi.fn();
    void channel.ask("bp").then(done);
    hear({ ...said.armed, to: "another", id: sent[0].id });
    expect(done).not.toHaveBeenCalled();
  });
  it("ignores what it does not know, and another version", () => {
    hear({ v: 1, op: "from the future", x: 1 });
    hear({ ...snapshot(), v: 2 });
    expect([channel.state, channel.snapshot]).toEqual(["connecting", null]);
  });
  it("says that a run goes on, and that it is over", () => {
    hear(snapshot());
    hear(said.running);
    expect([channel.state, channel.says]).toEqual(["running", said.running.says]);
    hear(snapshot(2));
    expect(channel.state).toBe("live");
  });
  it("is closed with the VM and lives again with the next", () => {
    hear(said.gone);
    expect([channel.state, channel.says]).toEqual(["closed", said.gone.says]);
    hear(snapshot());
    expect(channel.state).toBe("live");
  });
  it("is lost with the kernel, for good, and answers all that was asked", async () => {
    const asked = channel.ask("do");
    lose();
    hear(snapshot());
    expect([channel.state, channel.snapshot]).toEqual(["lost", null]);
    expect((await asked).ok).toBe(false);
    expect((await channel.ask("do")).ok).toBe(false);
  });
  it("says that a kernel is busy when no answer comes", () => {
    vi.useFakeTimers();
    const listener = vi.fn();
    channel.on("state", listener);
    void channel.ask("do");
    vi.advanceTimersByTime(5000);
    expect(listener.mock.calls.at(-1)[0].says).toContain("busy");
    vi.useRealTimers();
  });
});

describe("the kernel's words", () => {
  it.each([
    ["machine", machineView, ["again", "inc dword ptr"]],
    ["debugregs", debugregsView, ["DR0", "counter"]],
    ["timeline", timelineView, ["DR0"]],
  ])("are shown by the view of the %s", async (_, view, words) => {
    framed(document.body, channel, view);
    hear(snapshot());
    hear(said.exits, [new DataView(Uint8Array.from(said.exits.bytes).buffer)]);
    await frames();
    const root = document.querySelector(".kvmdbg-view");
    expect(root.dataset.state).toBe("live");
    expect(root.textContent).toContain(said.snapshot.says);
    for (const word of words) expect(root.textContent).toContain(word);
  });
  it("tell how many exits there are", () => {
    const store = new ExitStore();
    store.take(said.exits, new DataView(Uint8Array.from(said.exits.bytes).buffer));
    expect(store.size).toBe(said.exits.total);
    expect(store.kindOf(0).words).toBe(said.described.data.words);
  });
});

describe("the frame", () => {
  const view = { title: "A view", parts: [], mount: () => () => {} };
  it("tells the state in words and lets go when it is taken away", () => {
    const end = framed(document.body, channel, view);
    lose();
    expect(document.querySelector(".kvmdbg-state").textContent).toContain("kernel is gone");
    end();
    expect(document.querySelector(".kvmdbg-view")).toBeNull();
  });
  it("keeps what is typed in it from the notebook's own keys", () => {
    const typed = { ...view, mount: (/** @type {HTMLElement} */ root) => (root.append(document.createElement("select")), () => {}) };
    framed(document.body, channel, typed);
    const select = document.querySelector("select");
    select.focus();
    expect(select.hasAttribute("data-lm-suppress-shortcuts")).toBe(true);
  });
  it("tells which snapshot was drawn", async () => {
    framed(document.body, channel, view);
    hear(snapshot(7));
    await frames();
    expect(document.querySelector(".kvmdbg-view").dataset.serial).toBe("7");
  });
});

/** A widget's model as anywidget gives it, in a page whose kernel has these comms. */
function model(alive) {
  const comm = () => ({ comm_live: alive, send: vi.fn(), on: vi.fn() });
  const models = { one: comm(), two: comm() };
  const values = { push: "IPY_MODEL_one", control: "IPY_MODEL_two", options: {}, still: { png: "", text: "as it was" } };
  return {
    models,
    get: (name) => values[name],
    widget_manager: { get_model: async (id) => models[id] },
  };
}

describe("a widget", () => {
  it("asks on one model and listens on the other", async () => {
    const page = model(true);
    const found = await connect(page);
    found.line.send({ op: "x" });
    expect(page.models.two.send).toHaveBeenCalled();
    expect(page.models.one.on).toHaveBeenCalledWith("msg:custom", expect.any(Function));
  });
  it("shares its channel with the other widgets of its VM", async () => {
    const page = model(true);
    expect(await connect(page)).toBe(await connect(page));
  });
  it("shows how the guest stood when there is no kernel", async () => {
    globalThis[Symbol.for("kvmdbg.channels")]?.clear();
    await widget({ title: "A view", parts: [], mount: () => () => {} }).render({ model: model(false), el: document.body });
    expect(document.body.textContent).toContain("no kernel");
    expect(document.querySelector("pre").textContent).toBe("as it was");
  });
});
