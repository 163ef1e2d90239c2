/** The gutter of an assembly cell, and what a click on it asks of the VM. */
import { EditorState } from '@codemirror/state';
import { EditorView } from '@codemirror/view';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { AsmCells } from '../src/asmcell';
import { Breakpoints } from '../src/breakpoints';
import { breakpointGutter, hasGutter } from '../src/gutter';
import { settled } from './kernel';

const TEXT = '%%asm\n; two\nnop\nhlt';
const ROWS = [
  { line: 2, address: '0x8000' },
  { line: 3, address: '0x8001' }
];

/** A channel whose VM holds the program of TEXT, and breakpoints. */
function bench() {
  const channel = {
    snapshot: null as any,
    asked: [] as any[],
    ask: vi.fn(async (op: string, fields: any) => {
      channel.asked.push({ op, ...fields });
      return { ok: true, says: 'done' };
    })
  };
  return channel;
}

function snapshot(breakpoints: [number, string][], here: number | null = null) {
  return {
    breakpoints: breakpoints.map(([number, address]) => ({
      number, address, kind: 'sw', access: 'x', enabled: true, words: `breakpoint ${number}`
    })),
    parts: { listing: { program: { source: '; two\nnop\nhlt', rows: ROWS }, here } }
  };
}

let channel: ReturnType<typeof bench>;
let complaints: string[];
let breakpoints: Breakpoints;
let cells: AsmCells;
let view: EditorView;

function open(doc: string): void {
  view = new EditorView({
    parent: document.body,
    state: EditorState.create({ doc, extensions: cells.extension(doc) })
  });
}

/** The signs by line, as `line:look`. */
function signs(): string[] {
  const elements = [...view.dom.querySelectorAll('.kvmdbg-lab-gutter .cm-gutterElement')];
  return elements.flatMap((element, line) =>
    [...element.querySelectorAll('.kvmdbg-lab-sign')].map(
      sign => `${line + 1}:${/sign-(\w+)/.exec(sign.className)?.[1]}`
    )
  );
}

async function tell(next: any): Promise<void> {
  channel.snapshot = next;
  breakpoints.refresh(view);
  await settled();
}

beforeEach(() => {
  channel = bench();
  complaints = [];
  breakpoints = new Breakpoints(() => channel as any, says => void complaints.push(says));
  const gutter = breakpointGutter((at, line) => void breakpoints.toggle(at, line));
  cells = new AsmCells(() => gutter, at => breakpoints.refresh(at));
});

afterEach(() => view.destroy());

describe('an editor', () => {
  it('has no gutter while it holds something else', () => {
    open('x = 1');
    expect([hasGutter(view), cells.views.size]).toEqual([false, 0]);
  });
  it('gets one when its first line becomes %%asm, and loses it again', () => {
    open('asm');
    view.dispatch({ changes: { from: 0, insert: '%%' } });
    expect([hasGutter(view), cells.views.has(view)]).toEqual([true, true]);
    view.dispatch({ changes: { from: 0, to: 1 } });
    expect([hasGutter(view), cells.views.size]).toEqual([false, 0]);
  });
  it.each([['%%asm', ';'], ['%%asm --syntax att', '#'], ['%%asm --syntax nasm', ';']])(
    'comments lines of %s with %s',
    (head, sign) => {
      open(`${head}\nnop`);
      const [comment] = view.state.languageDataAt<any>('commentTokens', 0);
      expect(comment.line).toBe(sign);
    }
  );
});

describe('a cell that is not the loaded program', () => {
  it('keeps a wanted breakpoint, and asks for nothing', async () => {
    open(TEXT);
    await breakpoints.toggle(view, 3);
    expect([signs(), channel.asked]).toEqual([['3:pending'], []]);
  });
  it('gives it up at the second click', async () => {
    open(TEXT);
    await breakpoints.toggle(view, 3);
    await breakpoints.toggle(view, 3);
    expect(signs()).toEqual([]);
  });
  it('asks for it once the cell has been run', async () => {
    open(TEXT);
    await breakpoints.toggle(view, 3);
    await tell(snapshot([]));
    await tell(snapshot([]));
    expect(channel.asked).toEqual([{ op: 'bp', action: 'set', where: '0x8000' }]);
  });
  it('shows no arrow', async () => {
    open(`${TEXT}\nnop`);
    await tell(snapshot([], 2));
    expect(signs()).toEqual([]);
  });
});

describe('the cell of the loaded program', () => {
  it("shows the VM's breakpoints and where the guest is", async () => {
    open(TEXT);
    await tell(snapshot([[1, '0x8001']], 2));
    expect(signs()).toEqual(['3:here', '4:set']);
    expect(view.dom.querySelector('.kvmdbg-lab-here')?.textContent).toBe('nop');
  });
  it('asks for a breakpoint at the address of the line', async () => {
    open(TEXT);
    await tell(snapshot([]));
    await breakpoints.toggle(view, 4);
    expect(channel.asked).toEqual([{ op: 'bp', action: 'set', where: '0x8001' }]);
  });
  it('asks for the next instruction where the line has none', async () => {
    open(TEXT);
    await tell(snapshot([]));
    await breakpoints.toggle(view, 2);
    expect(channel.asked).toEqual([{ op: 'bp', action: 'set', where: '0x8000' }]);
  });
  it('deletes the breakpoint that is there', async () => {
    open(TEXT);
    await tell(snapshot([[7, '0x8001']]));
    await breakpoints.toggle(view, 4);
    expect(channel.asked).toEqual([{ op: 'bp', action: 'delete', number: 7 }]);
  });
  it('says what the kernel refused', async () => {
    open(TEXT);
    await tell(snapshot([]));
    channel.ask.mockResolvedValueOnce({ ok: false, says: 'busy' });
    await breakpoints.toggle(view, 4);
    expect(complaints).toEqual(['busy']);
  });
  it('says where the dot is for those who do not see it', async () => {
    open(TEXT);
    await tell(snapshot([[1, '0x8001']]));
    const sign = view.dom.querySelector('.kvmdbg-lab-sign-set');
    expect(sign?.getAttribute('aria-label')).toContain('breakpoint 1');
  });
  it('knows the address of a line, to run to it', async () => {
    open(TEXT);
    await tell(snapshot([]));
    expect(breakpoints.addressOf(view, 4)).toBe('0x8001');
  });
});

describe('an edit', () => {
  it('makes the dots wanted ones, which move with their lines', async () => {
    open(TEXT);
    await tell(snapshot([[1, '0x8001']], 2));
    view.dispatch({ changes: { from: 6, insert: 'nop\n' } });
    expect(signs()).toEqual(['5:pending']);
  });
  it('that is undone makes them real again, and asks for nothing', async () => {
    open(TEXT);
    await tell(snapshot([[1, '0x8001']]));
    view.dispatch({ changes: { from: 6, insert: 'nop\n' } });
    view.dispatch({ changes: { from: 6, to: 10 } });
    await settled();
    expect([signs(), channel.asked]).toEqual([['4:set'], []]);
  });
  it('that removes a line removes its dot', async () => {
    open(TEXT);
    await tell(snapshot([[1, '0x8001']]));
    view.dispatch({ changes: { from: TEXT.length - 4, to: TEXT.length } });
    expect(signs()).toEqual([]);
  });
  it('within a line leaves its dot', async () => {
    open(TEXT);
    await tell(snapshot([[1, '0x8001']]));
    view.dispatch({ changes: { from: TEXT.length, insert: ' ; end' } });
    expect(signs()).toEqual(['4:pending']);
  });
});
