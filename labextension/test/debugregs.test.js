/** The debug registers view in a page without layout: what it shows, asks and keeps. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Channel } from "../../kvmdbg/jupyter/widgets/esm/channel.js";
import { framed } from "../../kvmdbg/jupyter/widgets/esm/frame.js";
import { debugregsView } from "../../kvmdbg/jupyter/widgets/esm/debugregs.js";
import told from "./debugregs.part.json";

/** @type {any[]} */
let sent = [];
/** @type {(message: any, buffers: any[]) => void} */
let heard = () => {};
/** @type {Channel} */
let channel;
let end = () => {};
let host = document.body;

const frame = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 0)));
const one = (/** @type {string} */ selector) => /** @type {any} */ (host.querySelector(selector));
const all = (/** @type {string} */ selector) => /** @type {any[]} */ ([...host.querySelectorAll(selector)]);
const of = (/** @type {string} */ op) => sent.filter((message) => message.op === op);

/** @param {any} part @param {any[]} breakpoints */
async function shows(part, breakpoints = []) {
  const snapshot = { v: 1, op: "snapshot", says: "stop", clock: part?.history.here ?? 0, end: 100, breakpoints };
  heard({ ...snapshot, parts: part ? { debugregs: part } : {} }, []);
  await frame();
}

/** @param {any} answer */
async function answers(answer) {
  const asked = sent.at(-1);
  heard({ v: 1, op: "answer", to: asked.view, id: asked.id, says: "", ...answer }, []);
  await frame();
}

/** @param {any} control @param {string} value */
function types(control, value) {
  control.value = value;
  control.dispatchEvent(new Event("input", { bubbles: true }));
}

const submit = (/** @type {any} */ form) => form.dispatchEvent(new Event("submit", { bubbles: true, cancelable: true }));
const press = (/** @type {any} */ element, /** @type {string} */ key) => element.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const copy = () => structuredClone(/** @type {any} */ (told));

beforeEach(async () => {
  sent = [];
  host = document.createElement("div");
  document.body.append(host);
  channel = new Channel({ send: (message) => sent.push(message), hear: (listener) => (heard = listener), onLost: () => {} });
  end = framed(host, channel, debugregsView, {});
  await shows(told);
});
afterEach(() => {
  end();
  host.remove();
});

describe("the slots", () => {
  it("say whose breakpoint each is, what the guest has there, and which counts", () => {
    const cards = all(".kvmdbg-dr-slot").map((card) => card.textContent);
    expect(cards[1]).toContain("breakpoint 1, 3 hits");
    expect(cards[1]).toContain("▶ just hit");
    expect(cards[1]).toMatch(/◆hostin effect.*counter/);
    expect(cards[0]).toMatch(/◇guestinert.*start/);
  });

  it("ask for what %bp delete and disable would do", async () => {
    one("[aria-label='Remove breakpoint 1 (DR1)']").click();
    expect(of("bp")[0]).toMatchObject({ action: "delete", number: 1 });
    await answers({ ok: true, says: "breakpoint 1 deleted" });
    expect(host.textContent).toContain("✓ breakpoint 1 deleted");
    one("[aria-label='Disable breakpoint 2 (DR3)']").click();
    expect(of("bp")[1]).toMatchObject({ action: "disable", number: 2 });
  });

  it("keep the focus near when the button that had it goes", async () => {
    one("[aria-label='Remove breakpoint 1 (DR1)']").focus();
    const part = copy();
    part.slots[1].breakpoint = null;
    await shows(part);
    expect(document.activeElement).toBe(all(".kvmdbg-dr-slot")[1]);
  });

  it("offer to enable what is disabled", async () => {
    await shows(told, [{ number: 7, kind: "hw", enabled: false, words: "7: hw -w", label: "counter" }]);
    one("[aria-label='Enable breakpoint 7 (counter)']").click();
    expect(of("bp")[0]).toMatchObject({ action: "enable", number: 7 });
  });
});

describe("the strips", () => {
  const strip = () => one("[role=listbox]");
  const cells = () => /** @type {any[]} */ ([...strip().querySelectorAll("[role=option]")]);

  it("are one stop of Tab each, with arrow keys inside", () => {
    expect(all("[role=option][tabindex='0']")).toHaveLength(all("[role=listbox]").length);
    cells()[0].focus();
    press(cells()[0], "ArrowRight");
    expect(document.activeElement).toBe(cells()[1]);
  });

  it("tell name, bits, value and meaning of the field that has the focus", () => {
    const found = cells().find((cell) => cell.textContent.includes("G1"));
    found.dispatchEvent(new FocusEvent("focusin", { bubbles: true }));
    expect(one(".kvmdbg-dr-detail").textContent).toBe("G1, bit 3 = 1: slot 1 on in every task");
    expect(found.getAttribute("aria-selected")).toBe("true");
  });

  it("say in words that a field is active or reserved", () => {
    expect(cells().find((cell) => cell.textContent.includes("G1")).textContent).toContain(", active");
    expect(cells().find((cell) => cell.textContent.includes("bit 10")).textContent).toContain(", reserved");
  });

  it("keep the focused field when the next snapshot comes", async () => {
    const cell = cells()[4];
    cell.focus();
    await shows(copy());
    expect(document.activeElement).toBe(cell);
  });

  it("go when the host has no DR7 any more", async () => {
    const part = copy();
    part.registers = part.registers.filter((/** @type {any} */ register) => register.side === "guest");
    await shows(part);
    expect(all("[role=listbox]").map((list) => list.getAttribute("aria-label").slice(0, 15))).toEqual(["DR7, the guest'", "DR6, the guest'"]);
  });
});

describe("arming", () => {
  const form = () => one(".kvmdbg-dr-arm");
  const where = () => one(".kvmdbg-dr-arm input");
  const select = (/** @type {number} */ n) => all(".kvmdbg-dr-arm select")[n];

  it("says what is wrong while one types, marks the field, and sends nothing", () => {
    types(where(), "counter+2");
    types(select(0), "w");
    types(select(1), "4");
    expect(one(".kvmdbg-dr-says").textContent).toContain("only at a multiple of 4");
    expect(select(1).getAttribute("aria-invalid")).toBe("true");
    submit(form());
    expect(of("bp")).toEqual([]);
    expect(document.activeElement).toBe(select(1));
  });

  it("asks what %bp would, and says the answer", async () => {
    types(where(), "loop");
    submit(form());
    expect(of("bp")[0]).toMatchObject({ action: "set", where: "loop", kind: "hw", access: "x" });
    await answers({ ok: true, says: "3: hw -x at loop" });
    expect(one(".kvmdbg-dr-says").textContent).toBe("✓ 3: hw -x at loop");
    expect(where().value).toBe("");
  });

  it("leaves the form filled when the kernel refuses", async () => {
    types(where(), "loop");
    submit(form());
    await answers({ ok: false, says: "busy: the guest is running; press stop first" });
    expect(one(".kvmdbg-dr-says").textContent).toContain("✕ busy");
    expect(where().value).toBe("loop");
    await shows(copy());
    expect(form().dataset.wrong).toBe("true");
  });

  it("offers what the kernel completes", async () => {
    types(where(), "cou");
    expect(of("complete")[0]).toMatchObject({ text: "cou" });
    await answers({ ok: true, data: ["counter", "<b>x"] });
    expect(all("datalist option").map((option) => option.value)).toEqual(["counter", "<b>x"]);
  });
});

describe("the guest's own registers", () => {
  const input = () => one("[aria-label=\"the guest's DR7\"]");

  it("are written when Enter is pressed", () => {
    types(input(), "0x402");
    submit(input().form);
    expect(of("debugreg")[0]).toMatchObject({ name: "dr7", value: "0x402" });
  });

  it("are not written with a value that the processor refuses", () => {
    types(input(), "0x100000000");
    submit(input().form);
    expect(of("debugreg")).toEqual([]);
    expect(input().form.textContent).toContain("#GP");
  });

  it("follow the guest, but for a field that is being written", async () => {
    types(input(), "0x2");
    const part = copy();
    part.guest.dr7 = "0x404";
    part.guest.dr0 = "0x1234";
    await shows(part);
    expect(input().value).toBe("0x2");
    expect(one("[aria-label=\"the guest's DR0\"]").value).toBe("0x1234");
  });
});

describe("over time", () => {
  const slider = () => one("[role=slider]");

  it("arrow keys go from event to event, and Enter travels there", () => {
    press(slider(), "Home");
    const first = Number(slider().getAttribute("aria-valuenow"));
    press(slider(), "ArrowRight");
    const clock = Number(slider().getAttribute("aria-valuenow"));
    expect(clock).toBeGreaterThan(first);
    expect(slider().getAttribute("aria-valuetext")).toContain("DR1 hit");
    press(slider(), "Enter");
    expect(of("do")[0]).toMatchObject({ action: "goto", clock });
  });

  it("an engine without a clock has no way back, which is said", async () => {
    const part = copy();
    part.history.by = "exit";
    await shows(part);
    press(slider(), "Home");
    press(slider(), "Enter");
    expect(of("do")).toEqual([]);
    expect(host.textContent).toContain("no clock");
  });
});

describe("the whole", () => {
  it("has a table for each register and for what happened", async () => {
    const twin = all("details").at(-1);
    twin.open = true;
    twin.dispatchEvent(new Event("toggle"));
    expect(all("caption").map((caption) => caption.textContent.split(":")[0])).toEqual([
      "DR0-DR3",
      "DR7, the host's, in effect",
      "DR7, the guest's, inert",
      "DR6, in the exit",
      "DR6, the guest's, as it would read it",
      "Over time",
      "Events",
    ]);
  });

  it("says what this engine cannot do", async () => {
    const part = copy();
    part.rules.limits = ['the engine "kvm" has no data watchpoints in DR0-3'];
    await shows(part);
    expect(one(".kvmdbg-dr-limits").textContent).toContain("no data watchpoints");
  });

  it("shows hostile labels as text", async () => {
    const part = copy();
    part.slots[1].host.label = "<img src=x onerror=alert(1)>";
    await shows(part);
    expect(host.querySelector("img")).toBeNull();
    expect(host.textContent).toContain("<img src=x");
  });

  it("says so where there is no VM", async () => {
    await shows(null);
    expect(one(".kvmdbg-dr").hidden).toBe(true);
    expect(host.textContent).toContain("No VM yet");
  });

  it("is gone without a trace when it ends", async () => {
    const listens = vi.fn();
    end();
    channel.on("snapshot", listens);
    await shows(told);
    expect(listens).toHaveBeenCalledOnce();
    expect(host.childNodes).toHaveLength(0);
  });
});
