/**
 * The stack of the machine view: words around its top, with what they may be. Must not know: code.
 */
import { h, put, putAttribute } from "./dom.js";
import { fillRows, putDigits } from "./machine_rows.js";

/** @typedef {import("./channel.js").Message} Message */

const STACK_COLUMNS = ["offset", "address", "word", "may be"];

export function stackPanel() {
  const body = h("tbody");
  const scroll = h("div", { class: "kvmdbg-scroll", role: "region", tabindex: "0", "aria-label": "Stack words" });
  scroll.append(h("table", { class: "kvmdbg-stack" }, h("thead", {}, h("tr", {}, ...STACK_COLUMNS.map((name) => h("th", { scope: "col" }, name)))), body));
  return {
    element: h("section", { class: "kvmdbg-panel kvmdbg-panel-stack", "aria-label": "Stack" }, h("h4", {}, "Stack"), scroll),
    /** @param {Message} snapshot */
    draw(snapshot) {
      fillRows(body, snapshot.parts.machine.stack.rows, stackLine, fillStackLine);
    },
  };
}

function stackLine() {
  const place = h("th", { scope: "row" }, h("span", { class: "kvmdbg-mark", "aria-hidden": "true" }), h("span"));
  const word = h("td", {}, h("span"), h("span", { class: "kvmdbg-mark", "aria-hidden": "true" }), h("span", { class: "kvmdbg-spoken" }));
  return h("tr", {}, place, h("td"), word, h("td", { class: "kvmdbg-prose" }));
}

/**
 * @param {HTMLElement} line
 * @param {Message} row
 */
function fillStackLine(line, row) {
  const top = row.offset === 0;
  const [place, address, word, words] = line.children;
  line.classList.toggle("kvmdbg-top", top);
  line.classList.toggle("kvmdbg-gone", row.offset < 0);
  put(place.children[0], top ? "▶" : "");
  put(place.children[1], top ? "top" : row.offset > 0 ? `+${row.offset}` : String(row.offset));
  put(address, row.address);
  putAttribute(place, "title", row.address);
  putDigits(word.children[0], row.digits);
  put(word.children[1], row.changed ? "▲" : "");
  put(word.children[2], row.changed ? "changed" : "");
  putAttribute(word, "title", row.changed ? "changed by the last stop's instructions" : null);
  put(words, row.words);
}
