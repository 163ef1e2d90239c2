/**
 * The same as tables: all that the debug registers view draws, in rows of text. Pure, but for the
 * drawing of a table. Must not know: the pictures.
 */
import { h, renderTable } from "./dom.js";
import { drEvents, drEventWhen, drExtent, drLanes } from "./debugregs_history.js";

/**
 * @param {string} caption
 * @param {string[]} titles
 * @param {string[][]} rows
 * @param {number} prose the first column of words; those behind it are words too
 */
function drTable(caption, titles, rows, prose = titles.length - 1) {
  return {
    caption,
    columns: titles.map((title, n) => ({ title, prose: n >= prose })),
    rows: rows.map((row) => row.map((text, n) => ({ text, head: n === 0 }))),
  };
}

/**
 * @param {any} part
 * @param {number} end
 * @returns {any[]} tables for `renderTable`
 */
export function drTables(part, end) {
  const { history } = part;
  const side = (/** @type {any} */ one) => (one ? `${one.words}${one.on && one.label !== one.address ? ` (${one.label})` : ""}, ${one.state}` : "takes none");
  const user = (/** @type {any} */ slot) => [slot.breakpoint?.words, slot.hit && "hit by this stop"].filter(Boolean).join("; ");
  return [
    drTable("DR0-DR3", ["register", "host", "guest", "in effect", "breakpoint"], part.slots.map((/** @type {any} */ s) => [s.name, side(s.host), side(s.guest), `the ${s.effective}'s`, user(s)]), 1),
    ...part.registers.map((/** @type {any} */ register) =>
      drTable(
        `${register.name}, ${register.title}: ${register.value}, ${register.words}`,
        ["field", "bits", "value", "active", "meaning"],
        register.fields.map((/** @type {any} */ f) => [f.name, f.high === f.low ? `${f.high}` : `${f.high}-${f.low}`, f.value, f.active ? "active" : "", f.meaning]),
      ),
    ),
    drTable("Over time", ["register", "what was seen"], drLanes(history, drExtent(history, end)).map((lane) => [lane.name, lane.words])),
    drTable("Events", [history.by, "what"], drEvents(history).map((event) => [drEventWhen(event, history.by), event.says.join("; ")])),
  ];
}

/**
 * A closed section that draws its tables only while it is open.
 * @param {() => any[] | null} tables
 */
export function drTwin(tables) {
  const place = h("div", {});
  const element = /** @type {HTMLDetailsElement} */ (h("details", { class: "kvmdbg-dr-own" }, h("summary", {}, "All of this as tables"), place));
  const show = () => {
    if (element.open) place.replaceChildren(...(tables() ?? []).map(renderTable));
  };
  element.addEventListener("toggle", show);
  return { element, show };
}
