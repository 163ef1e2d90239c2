/**
 * Arming a breakpoint in a debug register, and writing the guest's own registers: two forms that say
 * what is wrong while one types. Must not know: the rules themselves (debugregs_rules.js), or how a
 * message travels.
 */
import { h, put } from "./dom.js";
import { drAddress, drArming, drCheck, drCommand, drHex, drPreview, drValueProblem } from "./debugregs_rules.js";

/** @typedef {import("./channel.js").Channel} Channel */
/** @typedef {import("./debugregs_rules.js").DrForm} DrForm */

let drForms = 0;
const DR_ACCESSES = [
  ["x", "executed"],
  ["w", "written"],
  ["rw", "read or written"],
  ["r", "read, not written"],
  ["io", "used as an I/O port"],
];
const DR_LENGTHS = [["", "as fits"], ["1", "1 byte"], ["2", "2 bytes"], ["4", "4 bytes"], ["8", "8 bytes"]];

/**
 * @param {string[][]} options
 * @param {Record<string, any>} attributes
 */
function drSelect(options, attributes) {
  const element = /** @type {HTMLSelectElement} */ (
    h("select", attributes, ...options.map(([value, title]) => h("option", { value }, title)))
  );
  return element;
}

/**
 * @param {string} title
 * @param {HTMLElement} control
 */
function drLabelled(title, control) {
  return h("label", { class: "kvmdbg-dr-field" }, h("span", {}, title), control);
}

/**
 * The form that arms.
 * @param {Channel} channel
 */
export function drArm(channel) {
  const id = `kvmdbg-dr-${channel.view}-${++drForms}`;
  const saysId = `${id}-says`;
  const described = { "aria-describedby": saysId };
  const text = (/** @type {Record<string, any>} */ more) =>
    /** @type {HTMLInputElement} */ (h("input", { type: "text", autocomplete: "off", spellcheck: "false", ...described, ...more }));
  const slot = drSelect([["", "any free"], ...[0, 1, 2, 3].map((n) => [String(n), `DR${n}`])], described);
  const access = drSelect(DR_ACCESSES, described);
  const length = drSelect(DR_LENGTHS, described);
  const where = text({ list: `${id}-places`, placeholder: "label, 0x8000, loop+4" });
  const when = text({ placeholder: "always" });
  const places = h("datalist", { id: `${id}-places` });
  const says = h("p", { class: "kvmdbg-dr-says", id: saysId, role: "status" });
  const notes = h("p", { class: "kvmdbg-dr-dim" });
  const same = h("p", { class: "kvmdbg-dr-dim" });
  const button = h("button", { type: "submit" }, "Arm");
  const controls = { slot, access, length, where, when };
  const element = h(
    "form",
    { class: "kvmdbg-dr-arm", "aria-label": "Arm a debug register", novalidate: true },
    drLabelled("Place", where),
    drLabelled("Stop when it is", access),
    drLabelled("Length", length),
    drLabelled("Register", slot),
    drLabelled("Only if", when),
    button,
    places,
    says,
    notes,
    same,
  );
  /** @type {any} */
  let rules = null;
  let answer = "";
  const form = () => /** @type {DrForm} */ ({ slot: slot.value, where: where.value, access: access.value, length: length.value, when: when.value });
  const check = () => {
    if (!rules) return;
    const verdict = drCheck(form(), rules);
    const empty = !where.value.trim();
    const wrong = !!verdict.problem && !empty;
    element.dataset.wrong = String(answer ? answer.startsWith("✕") : wrong);
    for (const [name, control] of Object.entries(controls)) control.setAttribute("aria-invalid", String(wrong && verdict.field === name));
    put(says, answer || (empty ? "Name a place: what is possible there is said before it is armed." : wrong ? `✕ ${verdict.problem}` : `✓ ${drPreview(form(), verdict)}`));
    put(notes, verdict.notes.join("; "));
    put(same, verdict.problem ? "" : `the same in a cell: ${drCommand(form())}`);
    button.setAttribute("aria-disabled", String(!!verdict.problem));
  };
  element.addEventListener("input", (event) => {
    answer = "";
    check();
    if (event.target === where) void drComplete(channel, where.value, places);
  });
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!rules) return;
    const verdict = drCheck(form(), rules);
    if (verdict.problem) {
      if (verdict.field) controls[verdict.field].focus();
      return check();
    }
    const told = await channel.ask("bp", drArming(form()));
    if (told.ok) where.value = when.value = "";
    answer = `${told.ok ? "✓" : "✕"} ${told.says}`;
    check();
  });
  return {
    element,
    /** @param {any} part */
    show(part) {
      rules = part.rules;
      rules.slots.forEach((/** @type {string | null} */ user, /** @type {number} */ n) =>
        put(slot.options[n + 1], user ? `DR${n} (in use: ${user})` : `DR${n}`));
      check();
    },
  };
}

/**
 * @param {Channel} channel
 * @param {string} text
 * @param {HTMLElement} places
 */
async function drComplete(channel, text, places) {
  const word = text.trim();
  if (!word) return;
  const found = await channel.ask("complete", { text: word });
  if (!found.ok || !Array.isArray(found.data)) return;
  places.replaceChildren(...found.data.slice(0, 50).map((name) => h("option", { value: String(name) })));
}

const DR_OWN = ["DR0", "DR1", "DR2", "DR3", "DR6", "DR7"];

/**
 * The guest's own registers, to be written.
 * @param {Channel} channel
 */
export function drOwn(channel) {
  const rows = DR_OWN.map((name) => drOwnRow(channel, name));
  const why = h("p", {});
  const element = h(
    "details",
    { class: "kvmdbg-dr-own" },
    h("summary", {}, "Write the guest's own DR0-DR7"),
    why,
    h("div", { class: "kvmdbg-dr-rows" }, ...rows.map((row) => row.element)),
  );
  return {
    element,
    /** @param {any} part */
    show(part) {
      const inert = "Now the host's are in effect, so what you write here is kept for the guest and stops nothing.";
      const live = "Now they are in effect: what you write here raises #DB in the guest, as if it had done MOV DR itself.";
      put(why, `These are what the guest reads and writes by MOV DR. ${part.owner === "host" ? inert : live}`);
      for (const row of rows) row.show(part);
    },
  };
}

/**
 * @param {Channel} channel
 * @param {string} name
 */
function drOwnRow(channel, name) {
  const input = /** @type {HTMLInputElement} */ (
    h("input", { type: "text", autocomplete: "off", spellcheck: "false", "aria-label": `the guest's ${name}` })
  );
  const button = h("button", { type: "submit", "aria-label": `Write ${name}` }, "Write");
  const says = h("span", { class: "kvmdbg-dr-dim", role: "status" });
  const element = h("form", { class: "kvmdbg-dr-row", novalidate: true }, h("strong", {}, name), input, button, says);
  /** @type {any} */
  let rules = null;
  let kept = "";
  const dirty = () => input.value !== kept;
  const check = () => {
    const problem = rules && dirty() ? drValueProblem(name, input.value, rules) : "";
    const value = rules && dirty() && !problem ? drAddress(input.value, rules).value : null;
    input.setAttribute("aria-invalid", String(!!problem));
    button.setAttribute("aria-disabled", String(!!problem || !dirty()));
    put(says, problem ? `✕ ${problem}` : value === null ? "" : `= ${drHex(value)}; now ${kept}`);
    return problem;
  };
  input.addEventListener("input", check);
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!dirty() || check()) return input.focus();
    const told = await channel.ask("debugreg", { name: name.toLowerCase(), value: input.value.trim() });
    if (told.ok) kept = input.value;
    put(says, `${told.ok ? "✓" : "✕"} ${told.says}`);
  });
  return {
    element,
    /** @param {any} part */
    show(part) {
      const untouched = !dirty();
      rules = part.rules;
      const now = part.guest[name.toLowerCase()];
      if (untouched || BigInt(now) === drAddress(input.value, rules).value) input.value = now;
      const news = kept !== now;
      kept = now;
      if (news && dirty()) check();
      button.setAttribute("aria-disabled", String(!dirty()));
    },
  };
}
