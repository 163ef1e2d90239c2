/**
 * Whether a breakpoint can be armed in a debug register, said before the kernel is asked. Pure: the
 * facts come from the kernel (`rules` of the part `debugregs`), the sentences are those by which
 * `%bp` would refuse, and a test of both sides keeps them so. Must not know: the page.
 */

/**
 * What the form holds; `slot` and `length` are empty for "any" and "as fits".
 * @typedef {{slot: string, where: string, access: string, length: string, when: string}} DrForm
 */
/** @typedef {"where" | "access" | "length" | "slot" | ""} DrField */
/**
 * @typedef {object} DrVerdict
 * @property {string} problem why not; empty if it can be armed
 * @property {DrField} field where the problem is
 * @property {string[]} notes what else is worth knowing
 * @property {bigint | null} address null: only the kernel can tell
 * @property {number | null} length in bytes; null as long as the address is unknown
 * @property {number | null} slot which debug register it would be
 */

const DR_MASK64 = (1n << 64n) - 1n;
const DR_NUMBERS = /** @type {[RegExp, string][]} */ ([
  [/^0x([0-9a-f_]+)$/i, "0x"],
  [/^([0-9][0-9a-f_]*)h$/i, "0x"],
  [/^0b([01_]+)$/i, "0b"],
  [/^([0-9_]+)$/, ""],
]);
const DR_TERM = /^\s*([+-]?)\s*([0-9][0-9a-z_]*|[$a-z_.?@][\w.?@$]*)/i;
const DR_SEGMENTED = /^([0-9a-f]{1,4}|[cdefgs]s):[0-9a-f]{1,8}$/i;

/**
 * A number as people of this field write it; null if it is none.
 * @param {string} text
 * @returns {bigint | null}
 */
export function drNumber(text) {
  for (const [pattern, prefix] of DR_NUMBERS) {
    const digits = pattern.exec(text)?.[1].replaceAll("_", "");
    if (digits) return BigInt(prefix + digits);
  }
  return null;
}

/**
 * The address that is meant, as far as a page can tell: a label, a number, sums of those.
 * @param {string} text
 * @param {any} rules
 * @returns {{value: bigint | null, problem: string}} null without a problem: ask the kernel
 */
export function drAddress(text, rules) {
  const unknown = { value: null, problem: "" };
  const whole = text.trim();
  if (Object.hasOwn(rules.symbols, whole)) return { value: BigInt(rules.symbols[whole]), problem: "" };
  if (DR_SEGMENTED.test(whole)) return unknown;
  let rest = whole;
  let sum = 0n;
  while (rest) {
    const term = DR_TERM.exec(rest);
    if (!term || (rest !== whole && !term[1])) return unknown;
    const found = drTerm(term[2], rules);
    if (found.value === null) return found;
    sum += term[1] === "-" ? -found.value : found.value;
    rest = rest.slice(term[0].length).trimStart();
  }
  return { value: sum & DR_MASK64, problem: "" };
}

/**
 * @param {string} word
 * @param {any} rules
 */
function drTerm(word, rules) {
  const number = drNumber(word);
  if (number !== null) return { value: number, problem: "" };
  if (/^[0-9]/.test(word)) return { value: null, problem: `"${word}" is not a number; write 32768, 0x8000 or 8000h` };
  if (Object.hasOwn(rules.symbols, word)) return { value: BigInt(rules.symbols[word]), problem: "" };
  const register = word.startsWith("$") || rules.names.split(" ").includes(word.toLowerCase());
  const certain = !register && !rules.more;
  return { value: null, problem: certain ? `there is no label "${word}"` : "" };
}

/**
 * The most that fits: up to 4 bytes, in real mode 2.
 * @param {bigint} address
 * @param {any} rules
 */
export function drNaturalLength(address, rules) {
  const fits = address & -address;
  return fits && fits < BigInt(rules.natural) ? Number(fits) : rules.natural;
}

/** @param {bigint} value */
export function drHex(value) {
  return `0x${value.toString(16)}`;
}

/**
 * @param {bigint} address
 * @param {number} length
 */
function drMisaligned(address, length) {
  const size = BigInt(length);
  const start = address - (address % size);
  const fits = address & -address;
  return (
    `a debug register watches ${length} bytes only at a multiple of ${length}: at ${drHex(address)} ` +
    `it would watch ${drHex(start)} to ${drHex(start + size - 1n)}; use length ${fits} here, ` +
    `or length ${length} at ${drHex(start)}`
  );
}

/**
 * Check a form against what the kernel told, in the order in which `%bp` checks.
 * @param {DrForm} form
 * @param {any} rules
 * @returns {DrVerdict}
 */
export function drCheck(form, rules) {
  const where = form.where.trim();
  const found = where ? drAddress(where, rules) : { value: null, problem: "say where: a label, an address, an expression" };
  const length = drLength(form, found.value, rules);
  const verdict = { notes: drNotes(form, found.value, rules), address: found.value, length, slot: drSlot(form, rules) };
  for (const [field, problem] of drProblems(form, found, length, rules)) if (problem) return { ...verdict, field, problem };
  return { ...verdict, field: "", problem: "" };
}

/**
 * @param {DrForm} form
 * @param {{value: bigint | null, problem: string}} found
 * @param {number | null} length
 * @param {any} rules
 * @returns {Generator<[DrField, string]>}
 */
function* drProblems(form, found, length, rules) {
  const data = form.access !== "x";
  yield ["where", found.problem];
  const user = form.slot && rules.slots[Number(form.slot)];
  yield ["slot", user ? `DR${form.slot} is in use (${user}); choose another, or none` : ""];
  if (form.access === "r" || form.access === "io") yield ["access", rules.refusals[form.access]];
  if (!data && form.length && form.length !== "1")
    yield ["length", `an execution breakpoint has no length; ${form.length} only fits a watchpoint`];
  if (data && form.length && found.value !== null && found.value % BigInt(form.length))
    yield ["length", drMisaligned(found.value, Number(form.length))];
  yield ["access", rules.refusals[form.access] ?? ""];
  if (found.value !== null) yield ["where", drThere(form.access, found.value, length, rules)];
  yield ["slot", rules.full ?? ""];
}

/**
 * @param {string} access
 * @param {bigint} address
 * @param {number | null} length
 * @param {any} rules
 */
function drThere(access, address, length, rules) {
  const same = rules.there.find(
    (/** @type {any} */ one) => one.access === access && BigInt(one.address) === address && one.length === length,
  );
  return same ? same.says : "";
}

/**
 * @param {DrForm} form
 * @param {bigint | null} address
 * @param {any} rules
 */
function drLength(form, address, rules) {
  if (form.access === "x") return 1;
  if (form.length) return Number(form.length);
  return address === null ? null : drNaturalLength(address, rules);
}

/**
 * @param {DrForm} form
 * @param {any} rules
 */
function drSlot(form, rules) {
  if (form.slot) return Number(form.slot);
  const free = rules.slots.indexOf(null);
  return free < 0 ? null : free;
}

/**
 * @param {DrForm} form
 * @param {bigint | null} address
 * @param {any} rules
 */
function drNotes(form, address, rules) {
  const notes = [];
  if (form.where.trim() && address === null) notes.push("the kernel works out this address when you arm it");
  if (form.length === "8" && form.access !== "x" && rules.bits !== 64)
    notes.push("length 8 is for 64-bit processors, in any mode; a 32-bit one leaves LEN = 10 undefined (SDM vol. 3, 17.2.4)");
  return notes;
}

const DR_WAITS = /** @type {Record<string, string>} */ ({ x: "execution of", w: "writes to", rw: "reads and writes of" });

/**
 * What would be armed, in one sentence.
 * @param {DrForm} form
 * @param {DrVerdict} verdict without a problem
 */
export function drPreview(form, verdict) {
  const { address, length, slot } = verdict;
  const where = form.where.trim();
  const label = address === null || drNumber(where) !== null ? "" : `${where}, `;
  const end = address !== null && length !== null && length > 1 ? `-${drHex(address + BigInt(length - 1))}` : "";
  const place = address === null ? where : `${label}${drHex(address)}${end}`;
  return `DR${slot} will wait for ${DR_WAITS[form.access]} ${place}`;
}

/**
 * The line that does the same in a cell.
 * @param {DrForm} form
 */
export function drCommand(form) {
  const words = ["%bp", form.where.trim()];
  words.push(form.access === "x" ? "hw" : `-${form.access}`);
  if (form.length && form.access !== "x") words.push("--len", form.length);
  if (form.slot) words.push("--slot", form.slot);
  if (form.when.trim()) words.push("if", form.when.trim());
  return words.join(" ");
}

/**
 * The message that arms it (docs/live-views.md, `bp`).
 * @param {DrForm} form
 */
export function drArming(form) {
  const message = /** @type {Record<string, any>} */ ({ action: "set", where: form.where.trim(), kind: "hw", access: form.access });
  if (form.length && form.access !== "x") message.length = Number(form.length);
  if (form.slot) message.slot = Number(form.slot);
  if (form.when.trim()) message.when = form.when.trim();
  return message;
}

/**
 * Why the guest's register cannot take a value; empty if it can, or if only the kernel can tell.
 * @param {string} name `DR0` to `DR7`
 * @param {string} text
 * @param {any} rules
 */
export function drValueProblem(name, text, rules) {
  if (!text.trim()) return "write a number, a label, or an expression";
  const { value, problem } = drAddress(text, rules);
  if (problem) return problem;
  if (value !== null && (name === "DR6" || name === "DR7") && value >> 32n)
    return `bits 63-32 of ${name} must be 0: MOV to it would raise #GP, and KVM_SET_DEBUGREGS says EINVAL`;
  return "";
}
