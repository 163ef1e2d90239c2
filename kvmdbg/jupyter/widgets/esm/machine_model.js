/**
 * What the machine view works out for itself: forms of a number, rows of a dump, shapes of marks.
 * Must not know: the page, or the kernel.
 */

/** @typedef {import("./channel.js").Message} Message */
/** @typedef {{shape: string, words: string, numbers: number[]}} Gutter */
/** @typedef {{offset: number, address: bigint, hex: string, changed: boolean, watch: Message | null}} DumpByte */
/** @typedef {{address: string, bytes: DumpByte[], ascii: string}} DumpRow */

const ADDRESS_BITS = 64n;

/**
 * The other forms of a register's value: `[["unsigned", "5"], ["eax", "00000005"], ...]`.
 * @param {string} name `rax`, `esp`, `cx`, `r8`
 * @param {string} digits its hexadecimal digits, as many as the register has
 * @returns {[string, string][]}
 */
export function numberForms(name, digits) {
  const bits = BigInt(digits.length * 4);
  const value = BigInt(`0x${digits || 0}`);
  const signed = BigInt.asIntN(Number(bits), value);
  /** @type {[string, string][]} */
  const forms = [["unsigned", thousandsOf(value)]];
  if (signed !== value) forms.push(["signed", thousandsOf(signed)]);
  forms.push(["ASCII", asciiOf(bytesOf(digits).reverse())]);
  return [...forms, ...partsOf(name, digits)];
}

/** @param {bigint} value */
function thousandsOf(value) {
  return value.toLocaleString("en");
}

/**
 * The registers inside a register, by the names that an assembler has for them.
 * @param {string} name
 * @param {string} digits
 * @returns {[string, string][]}
 */
function partsOf(name, digits) {
  const low = (/** @type {number} */ count) => digits.slice(-count);
  const numbered = /^r\d+$/.test(name);
  const stem = numbered ? name : /^(?:[re])?([a-ds][xip]|[bsd][ip])$/.exec(name)?.[1];
  if (!stem || stem === "ip") return [];
  /** @type {[string, string][]} */
  const found = [];
  if (digits.length > 8) found.push([numbered ? `${name}d` : `e${stem}`, low(8)]);
  if (digits.length > 4) found.push([numbered ? `${name}w` : stem, low(4)]);
  const letter = /^([a-d])x$/.exec(stem)?.[1];
  if (letter) found.push([`${letter}h`, low(4).slice(0, 2)], [`${letter}l`, low(2)]);
  else if (digits.length > 4) found.push([numbered ? `${name}b` : `${stem}l`, low(2)]);
  return found;
}

/**
 * @param {string} hex two digits a byte
 * @returns {number[]}
 */
export function bytesOf(hex) {
  return (hex.match(/../g) ?? []).map((pair) => parseInt(pair, 16));
}

/** @param {number[]} bytes */
function asciiOf(bytes) {
  return bytes.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
}

/**
 * How many bytes of a dump fit into a row: 16, 8 or 4.
 * @param {number} width of the room, in pixels
 * @param {number} letter width of one letter, in pixels
 * @param {number} address letters of an address
 */
export function bytesPerRow(width, letter, address) {
  const fits = (/** @type {number} */ count) => (address + 4 * count + 3) * letter <= width;
  return [16, 8].find(fits) ?? 4;
}

/**
 * An address as wide as its neighbours: `0x00008020`.
 * @param {bigint} address
 * @param {number} digits
 */
export function wideAddress(address, digits) {
  return `0x${address.toString(16).padStart(digits, "0")}`;
}

/**
 * Hexadecimal digits for a column of addresses: 4, 8, 12 or 16.
 * @param {bigint} largest
 */
export function addressWidth(largest) {
  return [4, 8, 12].find((digits) => largest >> BigInt(digits * 4) === 0n) ?? 16;
}

/**
 * A window's bytes in rows, each with what is known of it.
 * @param {Message} shown a window of the part `machine`
 * @param {number} count bytes in a row
 * @param {Message[]} breakpoints
 * @returns {DumpRow[]}
 */
export function dumpRows(shown, count, breakpoints) {
  const start = BigInt(shown.address || 0);
  const pairs = shown.data.match(/../g) ?? [];
  const watches = breakpoints.filter((b) => b.access === "w" || b.access === "rw").map(watchRange);
  const digits = addressWidth(start + BigInt(pairs.length));
  /** @type {DumpRow[]} */
  const rows = [];
  for (let first = 0; first < pairs.length; first += count) {
    const part = pairs.slice(first, first + count);
    const bytes = part.map((/** @type {string} */ hex, /** @type {number} */ n) => {
      const offset = first + n;
      const address = BigInt.asUintN(Number(ADDRESS_BITS), start + BigInt(offset));
      const watch = watches.find((w) => w.from <= address && address < w.to)?.breakpoint ?? null;
      return { offset, address, hex, changed: inRanges(shown.changed, offset), watch };
    });
    rows.push({ address: wideAddress(bytes[0].address, digits), bytes, ascii: asciiOf(bytesOf(part.join(""))) });
  }
  return rows;
}

/** @param {Message} breakpoint */
function watchRange(breakpoint) {
  const from = BigInt(breakpoint.address);
  return { from, to: from + BigInt(breakpoint.length), breakpoint };
}

/**
 * @param {[number, number][]} ranges offset and length
 * @param {number} offset
 */
function inRanges(ranges, offset) {
  return ranges.some(([from, length]) => from <= offset && offset < from + length);
}

/** Watched lengths that a byte's address allows: a debug register watches at multiples of its length.
 * @param {bigint} address
 * @param {number} bits of the code
 */
export function watchLengths(address, bits) {
  return [1, 2, 4, 8].filter((length) => address % BigInt(length) === 0n && (length < 8 || bits === 64));
}

/**
 * What stands in the gutter of a code row. Kinds differ by shape: round is an INT3, square a debug
 * register; full is on, hollow is off.
 * @param {string} address
 * @param {Message[]} breakpoints
 * @returns {Gutter}
 */
export function gutterOf(address, breakpoints) {
  const here = breakpoints.filter((b) => b.access === "x" && BigInt(b.address) === BigInt(address));
  if (!here.length) return { shape: "", words: "no breakpoint", numbers: [] };
  const first = here.find((b) => b.enabled) ?? here[0];
  const shape = first.kind === "hw" ? (first.enabled ? "■" : "□") : first.enabled ? "●" : "○";
  const words = here.map((b) => b.words).join("; ");
  return { shape, words, numbers: here.map((b) => b.number) };
}

/**
 * How far a long run has come.
 * @param {Message} running
 */
export function progressWords(running) {
  const seconds = `${Number(running.seconds).toFixed(1)} s`;
  if (typeof running.executed !== "number" || running.executed < 0) return `running for ${seconds}`;
  const speed = typeof running.per_second === "number" ? `, ${shortCount(running.per_second)} a second` : "";
  return `running for ${seconds}: ${shortCount(running.executed)} instructions${speed}`;
}

/**
 * `950`, `12.3 thousand`, `4.0 million`.
 * @param {number} count
 */
export function shortCount(count) {
  for (const [unit, word] of /** @type {[number, string][]} */ ([[1e9, "billion"], [1e6, "million"], [1e4, "thousand"]]))
    if (count >= unit) return `${(count / (unit === 1e4 ? 1e3 : unit)).toFixed(1)} ${word}`;
  return String(Math.round(count));
}

/**
 * What is to be read out of a console that has grown: its last new line, never a flood.
 * @param {string} before
 * @param {string} after
 */
export function consoleNews(before, after) {
  if (after === before || !after) return "";
  const fresh = after.startsWith(before) ? after.slice(before.length) : after;
  const lines = fresh.split("\n").filter((line) => line.trim());
  const last = (lines.at(-1) ?? "").slice(-200);
  return lines.length > 1 ? `${lines.length} lines printed, the last: ${last}` : last && `printed: ${last}`;
}

/**
 * A name for another window of a page: `view:m1`, `view:m2`.
 * @param {string} view
 * @param {string[]} used
 */
export function freshName(view, used) {
  let number = 1;
  while (used.includes(`${view}:m${number}`)) number++;
  return `${view}:m${number}`;
}
