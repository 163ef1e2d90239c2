/**
 * Memory windows of the machine view: hex dumps with what changed and what is watched, and a way to
 * watch a byte. Must not know: how the kernel reads memory.
 */
import { h, put, putAttribute } from "./dom.js";
import { bytesPerRow, dumpRows, freshName, watchLengths } from "./machine_model.js";
import { completing, fillRows, gridKeys } from "./machine_rows.js";

/** @typedef {import("./channel.js").Channel} Channel */
/** @typedef {import("./channel.js").Message} Message */
/** @typedef {import("./machine_model.js").DumpByte} DumpByte */
/** @typedef {import("./machine_model.js").DumpRow} DumpRow */
/** @typedef {ReturnType<typeof memoryWindow>} MemoryWindow */

const WINDOW_LENGTHS = [64, 128, 256, 512, 1024, 4096];
const FIRST_LENGTH = 128;

/**
 * @param {Channel} channel
 * @param {(says: string) => void} say
 */
export function memoryPanel(channel, say) {
  /** @type {Map<string, MemoryWindow>} */
  const open = new Map();
  const windows = h("div", { class: "kvmdbg-windows" });
  const add = placeForm(channel, "Memory at", "Add", "", FIRST_LENGTH, async (where, length) => {
    const answer = await channel.ask("window", { name: freshName(channel.view, [...open.keys()]), where, length });
    say(answer.ok ? "" : answer.says);
  });
  let asked = false;

  /** @param {Message} snapshot @returns {Message[]} this page's windows */
  const ours = (snapshot) => snapshot.parts.machine.windows.filter((/** @type {Message} */ w) => w.name.startsWith(`${channel.view}:`));

  /** Whoever looks first sees the bytes around the guest's place. @param {Message} snapshot */
  function first(snapshot) {
    if (asked) return;
    asked = true;
    if (!ours(snapshot).length)
      void channel.ask("window", { name: freshName(channel.view, []), where: snapshot.pc.address, length: FIRST_LENGTH });
  }

  return {
    element: h("section", { class: "kvmdbg-panel kvmdbg-panel-memory", "aria-label": "Memory" }, h("h4", {}, "Memory"), windows, add),
    /** @param {Message} snapshot */
    draw(snapshot) {
      first(snapshot);
      const shown = ours(snapshot);
      for (const [name, window] of open)
        if (!shown.some((w) => w.name === name)) {
          window.end();
          open.delete(name);
        }
      for (const each of shown) {
        if (!open.has(each.name)) {
          const made = memoryWindow(channel, each, say);
          open.set(each.name, made);
          windows.append(made.element);
        }
        open.get(each.name)?.draw(each, snapshot);
      }
    },
    end: () => open.forEach((window) => window.end()),
  };
}

/**
 * The line in which a place and a length are named.
 * @param {Channel} channel
 * @param {string} label
 * @param {string} verb
 * @param {string} where
 * @param {number} length
 * @param {(where: string, length: number) => void} chosen
 */
function placeForm(channel, label, verb, where, length, chosen) {
  const input = /** @type {HTMLInputElement} */ (h("input", { type: "text", value: where, placeholder: "address, label, $rsp", "aria-label": label, spellcheck: "false", autocomplete: "off" }));
  const lengths = [...new Set([...WINDOW_LENGTHS, length])].sort((a, b) => a - b);
  const select = /** @type {HTMLSelectElement} */ (h("select", { "aria-label": "bytes" }, ...lengths.map((n) => h("option", { value: n, selected: n === length }, `${n} bytes`))));
  const form = h("form", { class: "kvmdbg-place" }, input, completing(input, channel), select, h("button", { type: "submit" }, verb));
  const go = () => input.value.trim() && chosen(input.value.trim(), Number(select.value));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    go();
  });
  if (where) select.addEventListener("change", go);
  return form;
}

/**
 * @param {Channel} channel
 * @param {Message} wish
 * @param {(says: string) => void} say
 */
function memoryWindow(channel, wish, say) {
  const head = h("tr");
  const body = h("tbody");
  const table = h("table", { class: "kvmdbg-dump", role: "grid", "aria-label": `Memory at ${wish.where}; Enter on a byte to watch it`, "data-lm-suppress-shortcuts": "true" }, h("thead", {}, head), body);
  const scroll = h("div", { class: "kvmdbg-dump-scroll" }, table);
  const nothing = h("p", { class: "kvmdbg-note" });
  const watch = watchLine(channel, say);
  const form = placeForm(channel, "Memory at", "Show", wish.where, wish.length, (where, length) => void ask(where, length));
  const remove = h("button", { type: "button", "aria-label": `Remove the window at ${wish.where}`, title: "remove this window", onclick: () => void ask(wish.where, 0) }, "✕");
  const element = h("div", { class: "kvmdbg-window" }, h("div", { class: "kvmdbg-panel-head" }, form, remove), nothing, scroll, watch.element);
  let perRow = 16;
  /** Width and a letter's width, measured only when they may be others: that lays out the page. */
  let [across, letter] = [0, 0];
  const settle = gridKeys(body, "td[data-offset]", () => perRow);
  /** @type {Message | null} */
  let latest = null;
  /** @type {Message | null} */
  let moment = null;
  /** @type {DumpRow[]} */
  let rows = [];

  /** @param {string} where @param {number} length */
  async function ask(where, length) {
    const answer = await channel.ask("window", { name: wish.name, where, length });
    say(answer.ok ? "" : answer.says);
  }

  /** @param {HTMLElement} target @returns {DumpByte | undefined} */
  function byteAt(target) {
    const offset = target.closest("td[data-offset]")?.getAttribute("data-offset");
    return rows.flatMap((row) => row.bytes).find((byte) => String(byte.offset) === offset);
  }
  body.addEventListener("click", (event) => {
    const byte = byteAt(/** @type {HTMLElement} */ (event.target));
    if (!byte) return;
    const cell = /** @type {HTMLElement} */ (event.target).closest("td");
    cell?.focus();
    watch.show(byte, moment?.bits ?? 64);
  });
  body.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    const byte = byteAt(/** @type {HTMLElement} */ (event.target));
    if (!byte) return;
    event.preventDefault();
    watch.show(byte, moment?.bits ?? 64, true);
  });

  function measure() {
    [across, letter] = [scroll.clientWidth, letterWidth(scroll)];
  }
  function redraw() {
    if (!latest || !moment) return;
    put(nothing, latest.says);
    nothing.hidden = !latest.says;
    scroll.hidden = !!latest.says;
    if (!letter) measure();
    perRow = bytesPerRow(across || 600, letter, latest.address.length);
    rows = dumpRows(latest, perRow, moment.breakpoints);
    fillRows(head, ["address", ...Array.from({ length: perRow }, (_, n) => `+${n.toString(16)}`), "ASCII"], () => h("th", { scope: "col" }), put);
    if (body.dataset.perRow !== String(perRow)) body.replaceChildren();
    body.dataset.perRow = String(perRow);
    fillRows(body, rows, () => dumpLine(perRow), fillDumpLine);
    settle();
    watch.refresh(rows);
  }
  const watcher = typeof ResizeObserver === "undefined" ? null : new ResizeObserver(() => {
    measure();
    if (latest && bytesPerRow(across, letter, latest.address.length) !== perRow) redraw();
  });
  watcher?.observe(element);

  return {
    element,
    /** @param {Message} shown @param {Message} snapshot */
    draw(shown, snapshot) {
      latest = shown;
      moment = snapshot;
      if (shown.where !== wish.where) {
        wish = shown;
        const input = /** @type {HTMLInputElement} */ (form.querySelector("input"));
        if (document.activeElement !== input) input.value = shown.where;
      }
      redraw();
    },
    end() {
      watcher?.disconnect();
      element.remove();
    },
  };
}

/** @param {HTMLElement} element */
function letterWidth(element) {
  return parseFloat(getComputedStyle(element).fontSize || "12") * 0.61 || 7.4;
}

/** @param {number} count */
function dumpLine(count) {
  const bytes = Array.from({ length: count }, () => h("td", { tabindex: "-1" }));
  return h("tr", {}, h("th", { scope: "row" }), ...bytes, h("td", { class: "kvmdbg-ascii" }));
}

/**
 * @param {HTMLElement} line
 * @param {DumpRow} row
 */
function fillDumpLine(line, row) {
  const cells = /** @type {HTMLElement[]} */ ([...line.children]);
  put(cells[0], row.address);
  cells.slice(1, -1).forEach((cell, n) => fillByte(cell, row.bytes[n]));
  put(cells[cells.length - 1], row.ascii);
}

/**
 * @param {HTMLElement} cell
 * @param {DumpByte | undefined} byte none behind the window's end
 */
function fillByte(cell, byte) {
  put(cell, byte?.hex ?? "");
  putAttribute(cell, "data-offset", byte ? String(byte.offset) : null);
  if (!byte) cell.removeAttribute("tabindex");
  cell.classList.toggle("kvmdbg-changed", !!byte?.changed);
  cell.classList.toggle("kvmdbg-watched", !!byte?.watch);
  cell.classList.toggle("kvmdbg-off", byte?.watch?.enabled === false);
  const words = [byte?.changed && "changed", byte?.watch && `watched: ${byte.watch.words}`].filter(Boolean).join("; ");
  putAttribute(cell, "title", words || null);
  putAttribute(cell, "aria-label", words ? `${byte?.hex} ${words}` : null);
}

/**
 * What can be done with the chosen byte.
 * @param {Channel} channel
 * @param {(says: string) => void} say
 */
function watchLine(channel, say) {
  const words = h("span", { class: "kvmdbg-byte" });
  const select = /** @type {HTMLSelectElement} */ (h("select", { "aria-label": "bytes to watch" }));
  const writes = h("button", { type: "button", onclick: () => void set("w") }, "Watch writes here");
  const both = h("button", { type: "button", onclick: () => void set("rw") }, "Watch reads and writes");
  const away = h("button", { type: "button", onclick: () => void drop() }, "");
  const element = h("div", { class: "kvmdbg-watch", role: "group", "aria-label": "The chosen byte" }, words, select, writes, both, away);
  element.hidden = true;
  /** @type {DumpByte | null} */
  let chosen = null;

  /** @param {string} access */
  async function set(access) {
    if (!chosen) return;
    const answer = await channel.ask("bp", { action: "set", where: `0x${chosen.address.toString(16)}`, access, length: Number(select.value) });
    say(answer.says);
  }
  async function drop() {
    if (!chosen?.watch) return;
    const answer = await channel.ask("bp", { action: "delete", number: chosen.watch.number });
    say(answer.says);
  }
  /** @param {DumpByte} byte */
  function tell(byte) {
    chosen = byte;
    put(words, `0x${byte.address.toString(16)}: 0x${byte.hex} = ${parseInt(byte.hex, 16)}`);
    writes.hidden = both.hidden = select.hidden = !!byte.watch;
    away.hidden = !byte.watch;
    put(away, byte.watch ? `Delete watchpoint ${byte.watch.number}` : "");
  }
  return {
    element,
    /** @param {DumpByte} byte @param {number} bits @param {boolean} [go] to its first button */
    show(byte, bits, go = false) {
      const lengths = watchLengths(byte.address, bits);
      fillRows(select, lengths, () => h("option"), (option, length) => {
        option.setAttribute("value", String(length));
        put(option, length === 1 ? "1 byte" : `${length} bytes`);
      });
      tell(byte);
      element.hidden = false;
      if (go) (byte.watch ? away : writes).focus();
    },
    /** @param {DumpRow[]} rows */
    refresh(rows) {
      const now = rows.flatMap((row) => row.bytes).find((byte) => byte.address === chosen?.address);
      if (now) tell(now);
      else element.hidden = true;
    },
  };
}
