/**
 * DR6 and DR7 as strips of 32 bits, field by field; the field that has the focus is told below.
 * Must not know: whose register it is, or what a field means: that comes in words.
 */
import { h, put, roving } from "./dom.js";

/** @typedef {{element: HTMLElement, show: (register: any) => void}} DrStrip */

/**
 * The strips of a part's registers, made once each and drawn in place.
 */
export function drStrips() {
  const element = h("div", { class: "kvmdbg-dr-strips" });
  /** @type {Map<string, DrStrip>} */
  const strips = new Map();
  return {
    element,
    /** @param {any[]} registers */
    show(registers) {
      const wanted = registers.map((register) => `${register.name} ${register.side}`);
      registers.forEach((register, n) => {
        const strip = strips.get(wanted[n]) ?? drStrip(register);
        strips.set(wanted[n], strip);
        if (element.children[n] !== strip.element) element.insertBefore(strip.element, element.children[n] ?? null);
        strip.show(register);
      });
      for (const [name, strip] of strips) {
        if (wanted.includes(name)) continue;
        strip.element.remove();
        strips.delete(name);
      }
    },
  };
}

/**
 * @param {any} first the register as it is now; its fields stay the same ones
 * @returns {DrStrip}
 */
function drStrip(first) {
  const fields = first.fields.filter((/** @type {any} */ field) => field.high < 32);
  const cells = fields.map(drBitCell);
  const half = (/** @type {boolean} */ upper) =>
    h("div", { class: "kvmdbg-dr-half", role: "group", "aria-label": upper ? "bits 31-16" : "bits 15-0" },
      ...cells.filter((/** @type {any} */ _, /** @type {number} */ n) => fields[n].low >= 16 === upper));
  const title = h("span", {});
  const value = h("code", {});
  const list = h("div", { class: "kvmdbg-dr-bits", role: "listbox", "aria-orientation": "horizontal" }, half(true), half(false));
  const detail = h("p", { class: "kvmdbg-dr-detail", "aria-live": "polite" });
  const element = h("div", { class: "kvmdbg-dr-register" },
    h("p", { class: "kvmdbg-dr-title" }, h("strong", {}, first.name), " ", title, " ", value), list, detail);
  let register = first;
  let at = -1;
  const tell = () => put(detail, at < 0 ? register.words : drTold(register.fields, fields[at]));
  const look = (/** @type {EventTarget | null} */ target) => {
    at = cells.indexOf(/** @type {Element} */ (target)?.closest?.("[role=option]"));
    cells.forEach((/** @type {HTMLElement} */ cell, /** @type {number} */ n) => cell.setAttribute("aria-selected", String(n === at)));
    tell();
  };
  list.addEventListener("focusin", (event) => look(event.target));
  list.addEventListener("focusout", () => look(null));
  list.addEventListener("pointerover", (event) => look(event.target));
  list.addEventListener("pointerleave", () => look(list.contains(document.activeElement) ? document.activeElement : null));
  roving(list, "[role=option]");
  tell();
  return {
    element,
    show(now) {
      register = now;
      put(title, now.title);
      put(value, now.value);
      list.setAttribute("aria-label", `${now.name}, ${now.title}: ${now.value}, field by field`);
      now.fields.filter((/** @type {any} */ f) => f.high < 32).forEach((/** @type {any} */ field, /** @type {number} */ n) => drShowBits(cells[n], field));
      tell();
    },
  };
}

/** @param {any} field */
function drBitCell(field) {
  const width = field.high - field.low + 1;
  const name = field.reserved ? (width > 3 ? "reserved" : "") : field.name;
  return h(
    "div",
    { class: "kvmdbg-dr-bit", role: "option", "aria-selected": "false", style: `grid-column: span ${width}`, "data-reserved": String(field.reserved) },
    h("span", { class: "kvmdbg-dr-number", "aria-hidden": "true" }, width === 1 ? String(field.high) : width === 2 ? `${field.high} ${field.low}` : `${field.high}-${field.low}`),
    h("span", { class: "kvmdbg-dr-name" }, name),
    h("span", { class: "kvmdbg-dr-value" }),
    h("span", { class: "kvmdbg-spoken" }),
  );
}

/**
 * @param {HTMLElement} cell
 * @param {any} field
 */
function drShowBits(cell, field) {
  cell.dataset.active = String(field.active);
  put(/** @type {HTMLElement} */ (cell.querySelector(".kvmdbg-dr-value")), field.value);
  const state = field.active ? ", active" : field.reserved ? ", reserved" : "";
  put(/** @type {HTMLElement} */ (cell.querySelector(".kvmdbg-spoken")), `, ${drBits(field)}${state}`);
}

/** @param {any} field */
function drBits(field) {
  return field.high === field.low ? `bit ${field.high}` : `bits ${field.high}-${field.low}`;
}

/**
 * @param {any[]} fields as they are now
 * @param {any} chosen
 */
function drTold(fields, chosen) {
  const field = fields.find((one) => one.high === chosen.high);
  return `${field.reserved ? "" : `${field.name}, `}${drBits(field)} = ${field.value}: ${field.meaning}`;
}
