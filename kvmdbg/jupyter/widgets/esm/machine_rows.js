/**
 * Rows that stay while what they say changes, and the keys that move between them. Must not know:
 * what the rows are about.
 */
import { putAttribute } from "./dom.js";

/**
 * Digits with their leading zeros apart, so that the eye finds the number; the text is the same.
 * @param {Element} element
 * @param {string} digits
 */
export function putDigits(element, digits) {
  if (element.textContent === digits) return;
  const zeros = /^0*(?=.)/.exec(digits)?.[0] ?? "";
  const dim = document.createElement("span");
  dim.className = "kvmdbg-zeros";
  dim.textContent = zeros;
  element.replaceChildren(dim, digits.slice(zeros.length));
}

/**
 * As many children as there are items, each filled anew; the elements stay.
 * @template T
 * @template {HTMLElement} E
 * @param {HTMLElement} parent
 * @param {T[]} items
 * @param {() => E} make
 * @param {(element: E, item: T, n: number) => void} fill
 */
export function fillRows(parent, items, make, fill) {
  while (parent.children.length > items.length) parent.lastElementChild?.remove();
  while (parent.children.length < items.length) parent.append(make());
  items.forEach((item, n) => fill(/** @type {E} */ (parent.children[n]), item, n));
}

/**
 * Where a key leads in a grid of `count` cells, `columns` in a row; null if nowhere.
 * @param {string} key
 * @param {number} at
 * @param {number} count
 * @param {number} columns
 */
export function gridMove(key, at, count, columns) {
  const row = at - (at % columns);
  const goals = /** @type {Record<string, number>} */ ({
    ArrowRight: at + 1,
    ArrowLeft: at - 1,
    ArrowDown: at + columns,
    ArrowUp: at - columns,
    Home: row,
    End: Math.min(row + columns, count) - 1,
    PageDown: Math.min(at + columns * Math.floor((count - 1 - at) / columns), count - 1),
    PageUp: at % columns,
  });
  const to = goals[key];
  return to === undefined || to < 0 || to >= count || to === at ? null : to;
}

/**
 * One stop of Tab for cells whose number changes; arrow keys move in rows of `columns()`.
 * @param {HTMLElement} group
 * @param {string} selector
 * @param {() => number} columns
 * @returns {() => void} to be called when the cells have changed
 */
export function gridKeys(group, selector, columns) {
  const cells = () => /** @type {HTMLElement[]} */ ([...group.querySelectorAll(selector)]);
  const choose = (/** @type {HTMLElement | undefined} */ chosen) =>
    cells().forEach((cell) => putAttribute(cell, "tabindex", cell === chosen ? "0" : "-1"));
  group.addEventListener("keydown", (event) => {
    const all = cells();
    const at = all.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const to = at < 0 || event.ctrlKey || event.altKey || event.metaKey ? null : gridMove(event.key, at, all.length, columns());
    if (to === null) return;
    event.preventDefault();
    choose(all[to]);
    all[to].focus();
  });
  group.addEventListener("focusin", (event) => {
    const cell = /** @type {HTMLElement} */ (event.target).closest?.(selector);
    if (cell) choose(/** @type {HTMLElement} */ (cell));
  });
  return () => {
    const all = cells();
    choose(all.find((cell) => cell.tabIndex === 0) ?? all[0]);
  };
}

let lastElementId = 0;

/** An id that no other element of the page has. */
export function freshId() {
  return `kvmdbg-machine-${++lastElementId}`;
}

/**
 * An input that offers labels and registers while one types.
 * @param {HTMLInputElement} input
 * @param {import("./channel.js").Channel} channel
 * @returns {HTMLElement} the list, to be put beside the input
 */
export function completing(input, channel) {
  const list = document.createElement("datalist");
  list.id = freshId();
  input.setAttribute("list", list.id);
  let turn = 0;
  input.addEventListener("input", async () => {
    const mine = ++turn;
    const answer = await channel.ask("complete", { text: input.value });
    if (mine !== turn || !answer.ok || !Array.isArray(answer.data)) return;
    fillRows(list, answer.data.slice(0, 50), () => document.createElement("option"), (option, word) => {
      option.value = String(word);
    });
  });
  return list;
}
