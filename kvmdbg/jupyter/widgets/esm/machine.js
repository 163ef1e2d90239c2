/**
 * The machine view: code, processor, stack, memory, tables, console, and the bar that runs the guest.
 * A widget in a notebook and JupyterLab's side panel show the same. Must not know: how a snapshot is
 * made.
 */
import { actionOfKey, controlBar } from "./controls.js";
import { h, liveRegion, perFrame, put } from "./dom.js";
import { widget } from "./frame.js";
import { inspectPanel } from "./inspect.js";
import { codePanel } from "./machine_code.js";
import { consoleNews } from "./machine_model.js";
import { registersPanel } from "./machine_registers.js";
import { memoryPanel } from "./memory.js";
import { stackPanel } from "./memory_stack.js";

/** @typedef {import("./channel.js").Channel} Channel */
/** @typedef {import("./channel.js").Message} Message */

const NEWS_PAUSE = 2000; // ms between two sentences about what the guest prints

/**
 * @param {HTMLElement} root
 * @param {Channel} channel
 */
export function mountMachine(root, channel) {
  const says = liveRegion();
  const code = codePanel(channel, says.say);
  const memory = memoryPanel(channel, says.say);
  const printed = consolePanel();
  const inspect = inspectPanel(channel);
  const registers = registersPanel();
  const stack = stackPanel();
  const drawn = [code, registers, stack, memory, printed, inspect];
  const bar = controlBar(channel, (action) => {
    const where = code.chosen();
    if (action === "until" && !where) return null;
    void code.follow();
    return action === "until" ? { where } : {};
  });
  const machine = h("div", { class: "kvmdbg-machine" }, bar.element, says.element, machineGrid([code, memory], [registers, stack, printed], inspect));
  root.append(machine);

  const draw = perFrame(() => {
    if (channel.snapshot?.parts?.machine) drawn.forEach((panel) => panel.draw(/** @type {Message} */ (channel.snapshot)));
  });
  /** @param {KeyboardEvent} event */
  function pressed(event) {
    const action = event.defaultPrevented ? undefined : actionOfKey(event);
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    bar.act(action);
  }
  const view = /** @type {HTMLElement} */ (root.closest(".kvmdbg-view") ?? root);
  view.addEventListener("keydown", pressed);
  const off = channel.on("snapshot", () => draw());
  draw();
  return () => {
    off();
    bar.end();
    memory.end();
    printed.end();
    view.removeEventListener("keydown", pressed);
    machine.remove();
  };
}

/**
 * Two columns where there is room, one below the other where there is not.
 * @param {{element: HTMLElement}[]} left
 * @param {{element: HTMLElement}[]} right
 * @param {{element: HTMLElement}} below
 */
function machineGrid(left, right, below) {
  const column = (/** @type {{element: HTMLElement}[]} */ panels) => h("div", { class: "kvmdbg-column" }, ...panels.map((panel) => panel.element));
  return h("div", { class: "kvmdbg-grid" }, column(left), column(right), below.element);
}

/** What the guest printed; a screen reader hears of it now and then. */
function consolePanel() {
  const text = h("pre", { class: "kvmdbg-console", tabindex: "0", role: "region", "aria-label": "What the guest printed" });
  const cut = h("p", { class: "kvmdbg-note" });
  const news = h("div", { class: "kvmdbg-spoken", role: "status", "aria-live": "polite" });
  let heard = /** @type {string | null} */ (null);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  function tell() {
    timer = undefined;
    put(news, consoleNews(heard ?? "", text.textContent ?? ""));
    heard = text.textContent ?? "";
  }
  return {
    element: h("section", { class: "kvmdbg-panel kvmdbg-panel-console", "aria-label": "Console" }, h("h4", {}, "Console"), cut, text, news),
    /** @param {Message} snapshot */
    draw(snapshot) {
      const { text: now, cut: lost } = snapshot.parts.machine.console;
      if (text.textContent === now) return;
      const atEnd = text.scrollTop + text.clientHeight >= text.scrollHeight - 4;
      put(text, now);
      put(cut, lost ? `${lost.toLocaleString("en")} earlier characters are not shown` : "");
      if (atEnd) text.scrollTop = text.scrollHeight;
      if (heard === null) heard = now;
      else timer ??= setTimeout(tell, NEWS_PAUSE);
    },
    end: () => clearTimeout(timer),
  };
}

export const machineView = { title: "Machine", parts: ["machine"], mount: mountMachine };

export default widget(machineView);
