/**
 * The code of the machine view: instructions with a mark at the next one, and a gutter in which
 * breakpoints are set. Must not know: how the guest is run.
 */
import { h, put, putAttribute } from "./dom.js";
import { gutterOf } from "./machine_model.js";
import { completing, fillRows, gridKeys } from "./machine_rows.js";

/** @typedef {import("./channel.js").Channel} Channel */
/** @typedef {import("./channel.js").Message} Message */

/**
 * @param {Channel} channel
 * @param {(says: string) => void} say
 */
export function codePanel(channel, say) {
  const body = h("tbody");
  const table = h(
    "table",
    { class: "kvmdbg-code", role: "grid", "aria-label": "Code; F9 sets a breakpoint on the chosen line", "data-lm-suppress-shortcuts": "true" },
    h("thead", { class: "kvmdbg-spoken" }, h("tr", {}, ...["breakpoint", "next", "address", "bytes", "instruction", "source"].map((name) => h("th", { scope: "col" }, name)))),
    body,
  );
  const scroll = h("div", { class: "kvmdbg-code-scroll" }, table);
  const nothing = h("p", { class: "kvmdbg-note" });
  const settle = gridKeys(table, "tr[data-address]", () => 1);
  const jump = jumpBar(channel, say);
  /** @type {string} */
  let shown = "";

  /** @param {string} address */
  async function toggle(address) {
    const answer = await channel.ask("bp", { action: "toggle", where: address });
    say(answer.ok ? "" : answer.says);
  }
  body.addEventListener("click", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    const row = /** @type {HTMLElement | null} */ (target.closest("tr[data-address]"));
    if (!row) return;
    if (target.closest("button")) void toggle(row.dataset.address ?? "");
    row.focus({ preventScroll: true });
  });
  body.addEventListener("focusin", (event) => {
    const row = /** @type {HTMLElement} */ (event.target).closest("tr[data-address]");
    for (const other of body.querySelectorAll("tr[data-chosen]")) other.removeAttribute("data-chosen");
    row?.setAttribute("data-chosen", "");
  });
  body.addEventListener("keydown", (event) => {
    const row = /** @type {HTMLElement} */ (event.target).closest("tr[data-address]");
    if (event.key !== "F9" || !row) return;
    event.preventDefault();
    void toggle(/** @type {HTMLElement} */ (row).dataset.address ?? "");
  });

  /** @param {Message} snapshot */
  function draw(snapshot) {
    const code = jump.draw(snapshot.parts.machine);
    const focused = /** @type {HTMLElement | null} */ (body.contains(document.activeElement) ? document.activeElement : null)?.dataset.address;
    const lines = withLabels(code.rows);
    fillRows(body, lines, () => h("tr"), (row, line) => fillLine(row, line, snapshot));
    put(nothing, code.says);
    nothing.hidden = !code.says;
    settle();
    keepFocus(focused);
    const here = /** @type {HTMLElement | null} */ (body.querySelector("tr[aria-current]"));
    if (here && shown !== snapshot.pc.address) requestAnimationFrame(() => setTimeout(() => reveal(scroll, here))); // it measures: behind a frame that costs nothing
    shown = snapshot.pc.address;
  }

  /** Rows have moved under the focus: it goes with its address. @param {string | undefined} address */
  function keepFocus(address) {
    if (!address || /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.address === address) return;
    const row = [...body.querySelectorAll("tr[data-address]")].find((r) => /** @type {HTMLElement} */ (r).dataset.address === address);
    const kept = /** @type {HTMLElement | undefined} */ (row);
    kept?.focus({ preventScroll: true });
  }

  return {
    element: h("section", { class: "kvmdbg-panel kvmdbg-panel-code", "aria-label": "Code" }, h("div", { class: "kvmdbg-panel-head" }, h("h4", {}, "Code"), jump.element), nothing, scroll),
    draw,
    /** The chosen line's address, or null. */
    chosen: () => /** @type {HTMLElement | null} */ (body.querySelector("tr[data-chosen]"))?.dataset.address ?? null,
    follow: jump.follow,
  };
}

/**
 * Labels as lines of their own.
 * @param {Message[]} rows
 * @returns {({label: string} | Message)[]}
 */
export function withLabels(rows) {
  return rows.flatMap((row) => (row.label ? [{ title: row.label }, row] : [row]));
}

/**
 * @param {HTMLElement} row
 * @param {Message} line
 * @param {Message} snapshot
 */
function fillLine(row, line, snapshot) {
  const kind = line.title !== undefined ? "label" : "code";
  if (row.dataset.kind !== kind) {
    row.replaceChildren(...(kind === "label" ? labelCells() : codeCells()));
    row.dataset.kind = kind;
  }
  if (kind === "label") {
    for (const name of ["data-address", "tabindex", "aria-current", "data-chosen"]) row.removeAttribute(name);
    put(row.children[1], `${line.title}:`);
  } else fillCode(row, line, snapshot);
}

function labelCells() {
  return [h("td", { colspan: "2" }), h("th", { class: "kvmdbg-label", scope: "rowgroup", colspan: "4" })];
}

function codeCells() {
  const button = h("button", { type: "button", class: "kvmdbg-gutter", tabindex: "-1" });
  const here = h("td", { class: "kvmdbg-here" }, h("span", { "aria-hidden": "true" }), h("span", { class: "kvmdbg-spoken" }));
  const cells = ["address", "bytes", "text", "source"].map((name) => h("td", { class: `kvmdbg-${name}` }));
  return [h("td", {}, button), here, ...cells];
}

/**
 * @param {HTMLElement} row
 * @param {Message} line
 * @param {Message} snapshot
 */
function fillCode(row, line, snapshot) {
  const here = line.address === snapshot.pc.address;
  const gutter = gutterOf(line.address, snapshot.breakpoints);
  const [first, mark, address, bytes, text, source] = row.children;
  const button = /** @type {HTMLElement} */ (first.firstElementChild);
  if (row.dataset.address !== line.address) row.removeAttribute("data-chosen");
  putAttribute(row, "data-address", line.address);
  if (!row.hasAttribute("tabindex")) row.tabIndex = -1;
  row.classList.toggle("kvmdbg-data", line.data);
  putAttribute(row, "aria-current", here ? "location" : null);
  put(button, gutter.shape || "·");
  putAttribute(button, "data-shape", gutter.shape);
  putAttribute(button, "aria-pressed", String(!!gutter.shape));
  putAttribute(button, "aria-label", `breakpoint at ${line.address}`);
  putAttribute(button, "title", `${gutter.words} (F9)`);
  put(mark.children[0], here ? "▶" : "");
  put(mark.children[1], here ? "next instruction" : "");
  put(address, line.address);
  put(bytes, line.bytes);
  put(text, line.text);
  putAttribute(text, "title", line.source ? `line ${line.line}: ${line.source}` : null);
  put(source, line.source === line.text ? "" : line.source);
}

/**
 * Scroll only if the row is out of sight.
 * @param {HTMLElement} scroll
 * @param {HTMLElement} row
 */
function reveal(scroll, row) {
  const top = row.offsetTop;
  const bottom = top + row.offsetHeight;
  if (top < scroll.scrollTop || bottom > scroll.scrollTop + scroll.clientHeight)
    scroll.scrollTop = Math.max(0, top - scroll.clientHeight / 3);
}

/**
 * The line in which one names another place.
 * @param {Channel} channel
 * @param {(says: string) => void} say
 */
function jumpBar(channel, say) {
  const input = /** @type {HTMLInputElement} */ (h("input", { type: "text", placeholder: "address or label", "aria-label": "Show code at", spellcheck: "false", autocomplete: "off" }));
  const back = h("button", { type: "button", onclick: () => void follow() }, "Follow the guest");
  const form = h("form", { class: "kvmdbg-jump" }, input, completing(input, channel), h("button", { type: "submit" }, "Go"), back);
  const name = `${channel.view}:code`;
  let away = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!input.value.trim()) return follow();
    const answer = await channel.ask("window", { name, where: input.value.trim(), length: 1 });
    say(answer.ok ? "" : answer.says);
  });
  async function follow() {
    if (!away) return;
    away = false;
    input.value = "";
    await channel.ask("window", { name, where: "", length: 0 });
  }
  return {
    element: form,
    follow,
    /** @param {Message} machine @returns {Message} what is to be shown: a place that was named, or around the guest */
    draw(machine) {
      away = !!machine.codes[name];
      back.hidden = !away;
      return machine.codes[name] ?? machine.code;
    },
  };
}
