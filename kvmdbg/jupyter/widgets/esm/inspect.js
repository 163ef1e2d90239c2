/**
 * Inspectors of the machine view: the processor's tables as cards. Must not know: what the cards say.
 */
import { h, renderCard } from "./dom.js";
import { completing } from "./machine_rows.js";

/** @typedef {import("./channel.js").Channel} Channel */

/** @type {{what: string, words: string, takes: string}[]} `takes`: what the field beside it is for */
export const INSPECTORS = [
  { what: "page", words: "Page walk of an address", takes: "address; empty: the next instruction" },
  { what: "gdt", words: "GDT", takes: "first entry; empty: 0" },
  { what: "ldt", words: "LDT", takes: "first entry; empty: 0" },
  { what: "idt", words: "IDT or IVT", takes: "first vector; empty: 0" },
  { what: "tss", words: "TSS", takes: "" },
  { what: "sregs", words: "System registers", takes: "" },
];

/** @param {Channel} channel */
export function inspectPanel(channel) {
  const select = /** @type {HTMLSelectElement} */ (h("select", { "aria-label": "Inspect" }, ...INSPECTORS.map((i) => h("option", { value: i.what }, i.words))));
  const where = /** @type {HTMLInputElement} */ (h("input", { type: "text", spellcheck: "false", autocomplete: "off" }));
  const form = h("form", { class: "kvmdbg-place" }, select, where, completing(where, channel), h("button", { type: "submit" }, "Show"));
  const says = h("p", { class: "kvmdbg-note", role: "status" });
  const cards = h("div", { class: "kvmdbg-cards" });
  const element = /** @type {HTMLDetailsElement} */ (h("details", { class: "kvmdbg-panel kvmdbg-panel-inspect" }, h("summary", {}, "Page tables and descriptors"), form, says, cards));
  let busy = false;
  let again = false;

  /** The latest wish alone: while an answer is open, one more is remembered and not a queue. */
  async function show() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    const what = select.value;
    const answer = await channel.ask("inspect", { what, where: where.value.trim() });
    busy = false;
    says.textContent = answer.ok ? "" : answer.says;
    if (answer.ok && what === select.value) cards.replaceChildren(...(answer.data ?? []).map(renderCard));
    if (again) {
      again = false;
      await show();
    }
  }

  function choose() {
    const takes = INSPECTORS.find((i) => i.what === select.value)?.takes ?? "";
    where.hidden = !takes;
    where.placeholder = takes;
    where.setAttribute("aria-label", takes || "where");
    where.value = "";
    if (element.open) void show();
  }
  select.addEventListener("change", choose);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void show();
  });
  element.addEventListener("toggle", () => element.open && void show());
  choose();
  return {
    element,
    /** The guest stands elsewhere: what is open is asked for again. */
    draw() {
      if (element.open) void show();
    },
  };
}
