// @vitest-environment node
/** From a cell's lines to the program's addresses and back. */
import { describe, expect, it } from 'vitest';

import { Breakpoint, factsOf, placeFor, requestsFor } from '../src/listing';

const CELL = ['%%asm demo', '; a loop', 'start: mov ecx, 5', 'loop: dec ecx', '  jnz loop', '  hlt'];
const ROWS = [
  { line: 2, address: '0x8000' },
  { line: 3, address: '0x8005' },
  { line: 4, address: '0x8007' },
  { line: 5, address: '0x8009' }
];

function breakpoint(number: number, address: string, fields: Partial<Breakpoint> = {}): Breakpoint {
  const words = `breakpoint ${number}`;
  return { number, address, kind: 'sw', access: 'x', enabled: true, words, ...fields };
}

function snapshot(breakpoints: Breakpoint[] = [], here: number | null = 2) {
  const program = { source: CELL.slice(1).join('\n'), rows: ROWS };
  return { breakpoints, parts: { listing: { program, here } } };
}

const facts = (breakpoints: Breakpoint[] = []) => factsOf(CELL, snapshot(breakpoints))!;

describe('a cell', () => {
  it('counts its own lines, from its first', () => {
    expect(facts().here).toBe(3);
    expect(facts().places[0]).toEqual({ line: 3, address: '0x8000' });
  });
  it('counts empty lines before its first too', () => {
    expect(factsOf(['', ...CELL], snapshot())?.here).toBe(4);
  });
  it('is the program with other blanks and empty lines at the end', () => {
    const other = [...CELL.map(line => `${line}  `), '', ''];
    expect(factsOf(other, snapshot())).not.toBeNull();
  });
  it.each([
    ['another text', ['%%asm', 'nop']],
    ['a line less', CELL.slice(0, -1)],
    ['no head', CELL.slice(1)]
  ])('is not the program with %s', (_what, lines) => {
    expect(factsOf(lines, snapshot())).toBeNull();
  });
  it.each([null, {}, { parts: {} }, { parts: { listing: { program: null, here: null } } }])(
    'is not the program of %j',
    nothing => expect(factsOf(CELL, nothing)).toBeNull()
  );
  it('has no line for a program whose text was too long to send', () => {
    const program = { source: '', rows: ROWS };
    expect(factsOf(['%%asm'], { parts: { listing: { program, here: 1 } } })).toBeNull();
  });
});

describe('a breakpoint', () => {
  it('stands beside the line with its address', () => {
    expect(facts([breakpoint(1, '0x8005')]).marks).toEqual([
      { line: 4, kind: 'set', number: 1, says: 'breakpoint 1' }
    ]);
  });
  it('stands beside the line whose bytes hold its address', () => {
    expect(facts([breakpoint(1, '0x8003')]).marks[0].line).toBe(3);
  });
  it.each(['0x7fff', '0x800a', '0xffffffff81000000', ''])('has no line at %j', address => {
    expect(facts([breakpoint(1, address)]).marks).toEqual([]);
  });
  it('is told apart when it is off, and when it watches data', () => {
    const off = breakpoint(1, '0x8005', { enabled: false });
    const watch = breakpoint(2, '0x8007', { kind: 'hw', access: 'w' });
    expect(facts([off, watch]).marks.map(mark => mark.kind)).toEqual(['disabled', 'watch']);
  });
});

describe('the place for a breakpoint', () => {
  it('is the next line with code', () => {
    expect(placeFor(facts().places, 2)?.address).toBe('0x8000');
  });
  it('is nowhere below the last', () => {
    expect(placeFor(facts().places, 7)).toBeNull();
  });
});

describe('a cell that was run', () => {
  it('gets the breakpoints that it wants', () => {
    expect(requestsFor(facts(), [{ line: 5, number: null }])).toEqual([
      { action: 'set', where: '0x8007' }
    ]);
  });
  it('gets none that it has', () => {
    const has = facts([breakpoint(1, '0x8007')]);
    expect(requestsFor(has, [{ line: 5, number: 1 }])).toEqual([]);
  });
  it('gets one for two wishes that meet on a line', () => {
    const wanted = [{ line: 2, number: null }, { line: 3, number: null }];
    expect(requestsFor(facts(), wanted)).toEqual([{ action: 'set', where: '0x8000' }]);
  });
  it('has a breakpoint move with its line', () => {
    const has = facts([breakpoint(1, '0x8005')]);
    expect(requestsFor(has, [{ line: 5, number: 1 }])).toEqual([
      { action: 'delete', number: 1 },
      { action: 'set', where: '0x8007' }
    ]);
  });
  it('has a breakpoint move that is now inside of another wanted line', () => {
    const has = facts([breakpoint(1, '0x8006')]);
    const wanted = [{ line: 4, number: null }, { line: 5, number: 1 }];
    expect(requestsFor(has, wanted)).toEqual([
      { action: 'delete', number: 1 },
      { action: 'set', where: '0x8005' },
      { action: 'set', where: '0x8007' }
    ]);
  });
  it('loses a breakpoint whose old place is no line of it any more', () => {
    const has = facts([breakpoint(1, '0x9000')]);
    expect(requestsFor(has, [{ line: 5, number: 1 }])[0]).toEqual({ action: 'delete', number: 1 });
  });
  it('does not delete what was deleted meanwhile', () => {
    expect(requestsFor(facts(), [{ line: 5, number: 1 }])).toEqual([
      { action: 'set', where: '0x8007' }
    ]);
  });
  it("keeps breakpoints that are none of the cell's wishes", () => {
    const has = facts([breakpoint(4, '0x8009')]);
    expect(requestsFor(has, [{ line: 3, number: null }])).toEqual([
      { action: 'set', where: '0x8000' }
    ]);
  });
});
