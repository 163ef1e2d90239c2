/** What the page refuses before it asks, against what the kernel's own tests wrote down. */
import { describe, expect, it } from "vitest";
import cases from "./debugregs.cases.json";
import { drAddress, drArming, drCheck, drCommand, drNumber, drPreview, drValueProblem } from "../../kvmdbg/jupyter/widgets/esm/debugregs_rules.js";

const free = cases.free.rules;
const form = (more = {}) => ({ slot: "", where: "counter", access: "w", length: "", when: "", ...more });

describe("the page refuses what the debugger refuses, in the same words", () => {
  for (const [name, { rules, rows }] of Object.entries(cases))
    it(`situation "${name}"`, () => {
      for (const [where, access, length, slot, says] of rows) {
        const { problem } = drCheck(form({ where, access, length, slot }), rules);
        const same = /no label|not a number/.test(says) ? says.startsWith(problem) && problem !== "" : problem === says;
        expect(same, JSON.stringify({ where, access, length, slot, says, problem })).toBe(true);
      }
      expect(rows.length).toBeGreaterThan(100);
    });
});

describe("an address as people write it", () => {
  it.each([
    ["0x8000", 0x8000n],
    ["8000h", 0x8000n],
    ["32768", 32768n],
    ["0b101", 5n],
    ["1_000", 1000n],
  ])("%s is a number", (text, value) => expect(drNumber(text)).toBe(value));

  it("is a label, and sums of labels and numbers", () => {
    const counter = BigInt(free.symbols.counter);
    expect(drAddress(" counter ", free).value).toBe(counter);
    expect(drAddress("counter + 0x10 - 2", free).value).toBe(counter + 14n);
  });

  it("wraps at 64 bits as the debugger's does", () => {
    expect(drAddress("0 - 1", free).value).toBe((1n << 64n) - 1n);
  });

  it.each(["$rip", "rax+8", "[rsp]", "7c0:10", "counter*2", "-", "counter counter"])("%s is left to the kernel", (text) => {
    expect(drAddress(text, free)).toEqual({ value: null, problem: "" });
  });

  it("is not called unknown where not all labels were told", () => {
    expect(drAddress("nowhere", { ...free, more: 3 }).problem).toBe("");
  });

  it("is not looked up among what all objects have", () => {
    expect(drAddress("constructor", free).problem).toBe('there is no label "constructor"');
  });
});

describe("what is worth knowing besides", () => {
  it("is that x86 has no watch on reads alone, and that I/O breakpoints stop no guest of KVM", () => {
    expect(drCheck(form({ access: "r" }), free).problem).toBe(free.refusals.r);
    expect(drCheck(form({ access: "io" }), free).problem).toContain("never stops a guest of KVM");
  });

  it("is that length 8 is for 64-bit processors, and only where the code is not 64-bit", () => {
    const where = "0x9000";
    expect(drCheck(form({ where, length: "8" }), { ...free, bits: 16 }).notes.join()).toContain("LEN = 10");
    expect(drCheck(form({ where, length: "8" }), free).notes).toEqual([]);
  });

  it("is the first free register, and the line that does the same", () => {
    const wanted = form({ length: "4", when: "rax == 1" });
    const verdict = drCheck(wanted, { ...free, slots: ["1: loop", null, null, null] });
    const counter = BigInt(free.symbols.counter);
    expect(drPreview(wanted, verdict)).toBe(`DR1 will wait for writes to counter, 0x${counter.toString(16)}-0x${(counter + 3n).toString(16)}`);
    expect(drCommand({ ...wanted, slot: "2" })).toBe("%bp counter -w --len 4 --slot 2 if rax == 1");
  });

  it("is sent as the message that %bp would be", () => {
    expect(drArming(form({ where: " loop ", access: "x", length: "1" }))).toEqual({ action: "set", where: "loop", kind: "hw", access: "x" });
    expect(drArming(form({ length: "2", slot: "3", when: "zf" }))).toEqual({ action: "set", where: "counter", kind: "hw", access: "w", length: 2, slot: 3, when: "zf" });
  });
});

describe("a value for the guest's own register", () => {
  it("must leave bits 63-32 of DR6 and DR7 zero", () => {
    expect(drValueProblem("DR7", "0x100000400", free)).toContain("#GP");
    expect(drValueProblem("DR0", "0x100000400", free)).toBe("");
    expect(drValueProblem("DR7", "", free)).not.toBe("");
  });
});
