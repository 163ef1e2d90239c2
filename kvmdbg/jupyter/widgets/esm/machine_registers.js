/**
 * The processor in the machine view: registers and flags to go through by the arrow keys, with the
 * other forms of the chosen one below; segments and control registers folded. Must not know: code.
 */
import { h, put, putAttribute } from "./dom.js";
import { numberForms } from "./machine_model.js";
import { fillRows, freshId, gridKeys, putDigits } from "./machine_rows.js";

/** @typedef {import("./channel.js").Message} Message */

export function registersPanel() {
  const detail = h("dl", { class: "kvmdbg-forms", id: freshId() });
  const list = h("div", { class: "kvmdbg-registers", role: "group", "aria-label": "Registers", "data-lm-suppress-shortcuts": "true" });
  const flags = h("div", { class: "kvmdbg-flags", role: "group", "aria-label": "Flags", "data-lm-suppress-shortcuts": "true" });
  const settle = [gridKeys(list, "button", () => columnsOf(list)), gridKeys(flags, "button", () => 1)];
  const more = folded("Segments and control registers");
  const twin = folded("Registers and flags as a table");
  /** @type {Message | null} */
  let latest = null;
  let chosen = "";

  for (const group of [list, flags])
    for (const event of ["focusin", "click"])
      group.addEventListener(event, (/** @type {Event} */ happened) => {
        const button = /** @type {HTMLElement | null} */ (/** @type {HTMLElement} */ (happened.target).closest("button"));
        if (!button) return;
        chosen = button.dataset.name ?? "";
        drawDetail();
      });

  function drawDetail() {
    if (!latest) return;
    const register = latest.general.find((/** @type {Message} */ r) => r.name === chosen);
    const flag = latest.flags.find((/** @type {Message} */ f) => f.name === chosen);
    const pairs = register ? registerDetail(register) : flag ? flagDetail(flag) : [["", "choose a register to see its other forms"]];
    fillRows(detail, pairs, () => h("div", {}, h("dt"), h("dd")), (row, [name, value]) => {
      put(row.children[0], name);
      put(row.children[1], value);
    });
  }

  /** @param {Message} snapshot */
  function draw(snapshot) {
    latest = /** @type {Message} */ (snapshot.parts.machine.registers);
    const widest = Math.max(...latest.general.map((/** @type {Message} */ r) => r.digits.length));
    putAttribute(list, "style", `--kvmdbg-digits: ${widest}`);
    fillRows(list, latest.general, registerButton, (button, register) => fillRegister(button, register, detail.id));
    fillRows(flags, latest.flags.slice().reverse(), flagButton, (button, flag) => fillFlag(button, flag, detail.id));
    settle.forEach((each) => each());
    drawDetail();
    drawFolded(more, () => [segmentTable(latest?.segments), controlTable(latest?.control)]);
    drawFolded(twin, () => [registerTable(latest?.general), flagTable(latest?.flags)]);
  }

  return {
    element: h("section", { class: "kvmdbg-panel kvmdbg-panel-registers", "aria-label": "Processor" }, h("h4", {}, "Registers"), list, flags, detail, more.element, twin.element),
    draw,
  };
}

/**
 * A part that is drawn only while it is open.
 * @param {string} title
 */
function folded(title) {
  const inside = h("div");
  const element = /** @type {HTMLDetailsElement} */ (h("details", {}, h("summary", {}, title), inside));
  const part = { element, inside, make: () => /** @type {HTMLElement[]} */ ([]) };
  element.addEventListener("toggle", () => element.open && inside.replaceChildren(...part.make()));
  return part;
}

/**
 * @param {ReturnType<typeof folded>} part
 * @param {() => HTMLElement[]} make
 */
function drawFolded(part, make) {
  part.make = make;
  if (part.element.open) part.inside.replaceChildren(...make());
}

/** How many buttons stand in the first row. @param {HTMLElement} list */
function columnsOf(list) {
  const all = /** @type {HTMLElement[]} */ ([...list.children]);
  const below = all.findIndex((child) => child.offsetTop > all[0].offsetTop);
  return below > 0 ? below : Math.max(1, all.length);
}

/** A shape for the eye and words for the ear. */
function changeMark() {
  return [h("span", { class: "kvmdbg-mark", "aria-hidden": "true" }), h("span", { class: "kvmdbg-spoken" })];
}

function registerButton() {
  return h("button", { type: "button", class: "kvmdbg-register" }, h("b"), h("span", { class: "kvmdbg-value" }), ...changeMark());
}

/**
 * @param {HTMLElement} button
 * @param {Message} register
 * @param {string} detail
 */
function fillRegister(button, register, detail) {
  const changed = register.was !== null;
  putAttribute(button, "data-name", register.name);
  put(button.children[0], register.name);
  putDigits(button.children[1], register.digits);
  put(button.children[2], changed ? "▲" : "");
  putAttribute(button, "title", changed ? `was ${register.was}` : null);
  put(button.children[3], changed ? `, changed, was ${register.was}` : "");
  putAttribute(button, "aria-describedby", detail);
}

function flagButton() {
  return h("button", { type: "button", class: "kvmdbg-flag" }, h("span"), ...changeMark());
}

/**
 * @param {HTMLElement} button
 * @param {Message} flag
 * @param {string} detail
 */
function fillFlag(button, flag, detail) {
  const changed = flag.was !== null;
  const name = flag.name === "IOPL" ? `iopl=${flag.value}` : flag.value ? flag.name : flag.name.toLowerCase();
  putAttribute(button, "data-name", flag.name);
  putAttribute(button, "data-set", String(!!flag.value && flag.name !== "IOPL"));
  put(button.children[0], name);
  put(button.children[1], changed ? "▲" : "");
  putAttribute(button, "title", `${flag.name} = ${flag.value}${changed ? `, was ${flag.was}` : ""}: ${flag.words}`);
  put(button.children[2], ` = ${flag.value}${changed ? `, changed, was ${flag.was}` : ""}`);
  putAttribute(button, "aria-describedby", detail);
}

/** @param {Message} register @returns {[string, string][]} */
function registerDetail(register) {
  /** @type {[string, string][]} */
  const was = register.was === null ? [] : [["was", register.was]];
  return [[register.name, `0x${register.digits}`], ...was, ...numberForms(register.name, register.digits)];
}

/** @param {Message} flag @returns {[string, string][]} */
function flagDetail(flag) {
  /** @type {[string, string][]} */
  const was = flag.was === null ? [] : [["was", String(flag.was)]];
  return [[flag.name, String(flag.value)], ...was, ["if set", flag.words]];
}

/**
 * @param {string} caption
 * @param {string[]} columns
 * @param {Message[]} rows
 * @param {(row: Message) => (string | number)[]} cells the first is the row's header
 */
function plainTable(caption, columns, rows, cells) {
  return h(
    "div",
    { class: "kvmdbg-scroll", role: "region", tabindex: "0", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", {}, caption),
      h("thead", {}, h("tr", {}, ...columns.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, ...rows.map((row) => {
        const [name, ...rest] = cells(row);
        return h("tr", {}, h("th", { scope: "row" }, name), ...rest.map((text, n) => h("td", { class: n === rest.length - 1 && "kvmdbg-prose" }, text)));
      })),
    ),
  );
}

/** @param {Message} row */
const changeOf = (row) => (row.was === null ? "" : `▲ was ${row.was}`);

/** @param {Message[]} [rows] */
function segmentTable(rows = []) {
  return plainTable("Segments", ["register", "selector", "changed", "base", "limit", "what it is"], rows, (r) => [r.name, r.digits, changeOf(r), r.base, r.limit, r.words]);
}

/** @param {Message[]} [rows] */
function controlTable(rows = []) {
  return plainTable("Control registers", ["register", "value", "changed", "bits set"], rows, (r) => [r.name, `0x${r.digits}`, changeOf(r), r.bits.join(" ")]);
}

/** @param {Message[]} [rows] */
function registerTable(rows = []) {
  return plainTable("Registers", ["register", "value", "changed"], rows, (r) => [r.name, `0x${r.digits}`, changeOf(r)]);
}

/** @param {Message[]} [rows] */
function flagTable(rows = []) {
  return plainTable("Flags", ["flag", "value", "changed", "if set"], rows, (r) => [r.name, r.value, changeOf(r), r.words]);
}
