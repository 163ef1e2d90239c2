import { beforeEach, describe, expect, it, vi } from 'vitest';

import { Channel } from '../../kvmdbg/jupyter/widgets/esm/channel.js';
import { Turns, actionOfKey, whyNot, CONTROLS } from '../../kvmdbg/jupyter/widgets/esm/controls.js';
import { mountMachine } from '../../kvmdbg/jupyter/widgets/esm/machine.js';
import {
  addressWidth,
  bytesPerRow,
  consoleNews,
  dumpRows,
  freshName,
  gutterOf,
  numberForms,
  progressWords,
  shortCount,
  watchLengths,
} from '../../kvmdbg/jupyter/widgets/esm/machine_model.js';
import { gridMove } from '../../kvmdbg/jupyter/widgets/esm/machine_rows.js';

const forms = (name, digits) => Object.fromEntries(numberForms(name, digits));
const breakpoint = (more) => ({
  number: 1, address: '0x8000', kind: 'sw', access: 'x', length: 1, enabled: true, words: '1: sw -x at start', ...more,
});

describe('the forms of a register', () => {
  it('are its parts by their names', () => {
    expect(forms('rax', '00000000deadbeef')).toMatchObject({ eax: 'deadbeef', ax: 'beef', ah: 'be', al: 'ef' });
  });
  it('have no high byte where the processor has none', () => {
    expect(forms('rsi', '0000000000008020')).toMatchObject({ esi: '00008020', si: '8020', sil: '20' });
    expect(Object.keys(forms('r8', '0000000000008020'))).toEqual(['unsigned', 'ASCII', 'r8d', 'r8w', 'r8b']);
  });
  it('name no part of the instruction pointer', () => {
    expect(Object.keys(forms('rip', '0000000000008020'))).toEqual(['unsigned', 'ASCII']);
  });
  it('have a sign by the width of the register', () => {
    expect(forms('ax', 'ffff').signed).toBe('-1');
    expect(forms('eax', '0000ffff').signed).toBeUndefined();
  });
  it('keep all 64 bits', () => {
    expect(forms('rax', 'ffffffffffffffff').unsigned).toBe('18,446,744,073,709,551,615');
  });
  it('show text in the order in which memory has it', () => {
    expect(forms('eax', '6c6c6568').ASCII).toBe('hell');
  });
});

describe('a dump', () => {
  const shown = { address: '0x8020', data: '00112233445566778899', changed: [[2, 3]] };
  it('has rows as wide as was asked', () => {
    expect(dumpRows(shown, 8, []).map((row) => row.bytes.length)).toEqual([8, 2]);
  });
  it('tells which bytes changed', () => {
    const bytes = dumpRows(shown, 16, []).flatMap((row) => row.bytes);
    expect(bytes.filter((b) => b.changed).map((b) => b.offset)).toEqual([2, 3, 4]);
  });
  it('tells which bytes are watched, and by whom', () => {
    const watch = breakpoint({ number: 7, address: '0x8024', access: 'w', length: 4, kind: 'hw' });
    const bytes = dumpRows(shown, 16, [watch]).flatMap((row) => row.bytes);
    expect(bytes.filter((b) => b.watch?.number === 7).map((b) => b.offset)).toEqual([4, 5, 6, 7]);
  });
  it('takes no execution breakpoint for a watch', () => {
    expect(dumpRows(shown, 16, [breakpoint({ address: '0x8020' })])[0].bytes[0].watch).toBeNull();
  });
  it('knows the last address there is', () => {
    const top = { address: '0xffffffffffffffff', data: '00', changed: [] };
    expect(dumpRows(top, 16, [])[0].address).toBe('0xffffffffffffffff');
  });
  it('has as many bytes a row as the room allows', () => {
    expect([900, 330, 120].map((width) => bytesPerRow(width, 7, 6))).toEqual([16, 8, 4]);
  });
  it('has addresses of one width', () => {
    expect([0x8020n, 0x10000n, 1n << 40n, 1n << 60n].map(addressWidth)).toEqual([4, 8, 12, 16]);
  });
});

describe('small words', () => {
  it('offer only lengths that a debug register can watch there', () => {
    expect(watchLengths(0x8004n, 64)).toEqual([1, 2, 4]);
    expect(watchLengths(0x8008n, 64)).toEqual([1, 2, 4, 8]);
    expect(watchLengths(0x8008n, 32)).toEqual([1, 2, 4]);
    expect(watchLengths(0x8001n, 64)).toEqual([1]);
  });
  it('tell an INT3 from a debug register, and on from off, by the shape', () => {
    const shape = (more) => gutterOf('0x8000', [breakpoint(more)]).shape;
    expect([shape({}), shape({ enabled: false }), shape({ kind: 'hw' }), shape({ kind: 'hw', enabled: false })]).toEqual(['●', '○', '■', '□']);
  });
  it('see no breakpoint at another place, and none in a watchpoint', () => {
    expect(gutterOf('0x8001', [breakpoint()]).shape).toBe('');
    expect(gutterOf('0x8000', [breakpoint({ access: 'w' })]).shape).toBe('');
  });
  it('say how far a run has come', () => {
    expect(progressWords({ seconds: 3.21, executed: 12_345_678, per_second: 4e6 })).toBe('running for 3.2 s: 12.3 million instructions, 4.0 million a second');
  });
  it('claim no speed without a clock', () => {
    expect(progressWords({ seconds: 1, executed: -1, per_second: null })).toBe('running for 1.0 s');
  });
  it('shorten counts', () => {
    expect([950, 12_345, 2e9].map(shortCount)).toEqual(['950', '12.3 thousand', '2.0 billion']);
  });
  it('read out the last line of what was printed, and how many there were', () => {
    expect(consoleNews('a\n', 'a\nb\nc\n')).toBe('2 lines printed, the last: c');
    expect(consoleNews('a', 'a')).toBe('');
    expect(consoleNews('', 'x'.repeat(1000)).length).toBeLessThan(220);
  });
  it('name windows by their page', () => {
    expect(freshName('p', ['p:m1', 'q:m2'])).toBe('p:m2');
  });
});

describe('keys in a grid', () => {
  it('move in rows and columns and stop at the ends', () => {
    const move = (key, at) => gridMove(key, at, 20, 8);
    expect([move('ArrowRight', 0), move('ArrowDown', 3), move('ArrowUp', 3), move('ArrowDown', 15)]).toEqual([1, 11, null, null]);
    expect([move('End', 9), move('Home', 9), move('End', 17), move('x', 0)]).toEqual([15, 8, 19, null]);
  });
});

describe('keys that run the guest', () => {
  const key = (name, more = {}) => actionOfKey({ key: name, shiftKey: false, ctrlKey: false, altKey: false, metaKey: false, ...more });
  it('are those of the bar', () => {
    expect([key('F11'), key('F10'), key('F11', { shiftKey: true }), key('F10', { shiftKey: true })]).toEqual(['step', 'over', 'out', 'step-back']);
    expect([key('F8'), key('F8', { shiftKey: true }), key('F10', { ctrlKey: true })]).toEqual(['continue', 'stop', 'until']);
  });
  it('are none with other modifiers', () => {
    expect([key('F11', { altKey: true }), key('F5'), key('a')]).toEqual([undefined, undefined, undefined]);
  });
});

describe('turns', () => {
  /** Answers stay open until they are given. */
  function desk() {
    const sent = [];
    const open = [];
    const said = [];
    const turns = new Turns((op, fields) => new Promise((give) => {
      sent.push(fields);
      open.push(give);
    }), (text) => said.push(text));
    const answer = async (ok = true, says = 'done') => {
      open.shift()({ ok, says });
      await Promise.resolve();
      await Promise.resolve();
    };
    return { turns, sent, answer, said };
  }
  it('count presses while an answer is open, and ask for all of them at once', async () => {
    const { turns, sent, answer } = desk();
    for (let n = 0; n < 5; n++) void turns.press('step');
    expect(sent).toEqual([{ action: 'step' }]);
    await answer();
    expect(sent).toEqual([{ action: 'step' }, { action: 'step', count: 4 }]);
  });
  it('never ask for more than a thousand at once', async () => {
    const { turns, sent, answer } = desk();
    for (let n = 0; n < 5000; n++) void turns.press('step');
    await answer();
    expect(sent[1].count).toBe(1000);
  });
  it('send nothing else while an answer is open, nor later', async () => {
    const { turns, sent, answer } = desk();
    void turns.press('continue');
    void turns.press('continue');
    void turns.press('step');
    await answer();
    expect(sent).toEqual([{ action: 'continue' }]);
  });
  it('let stop overtake what it ends, once', () => {
    const { turns, sent } = desk();
    void turns.press('continue');
    void turns.press('stop');
    void turns.press('stop');
    expect(sent.map((fields) => fields.action)).toEqual(['continue', 'stop']);
  });
  it('drop what was counted when the answer is no', async () => {
    const { turns, sent, answer, said } = desk();
    void turns.press('step');
    void turns.press('step');
    await answer(false, 'busy');
    expect([sent.length, said.at(-1)]).toEqual([1, 'busy']);
  });
});

const snapshot = (more = {}) => ({
  v: 1, op: 'snapshot', serial: 1, state: 'stopped', says: 'stop 1', bits: 64, clock: 5, end: 5,
  pc: { address: '0x8002', label: 'loop' },
  breakpoints: [breakpoint({ address: '0x8002', number: 3, words: '3: sw -x at loop' })],
  parts: {
    machine: {
      code: { says: '', rows: [
        { address: '0x8000', size: 2, label: '', bytes: '31 c0', text: 'xor eax, eax', source: '', line: 1, data: false },
        { address: '0x8002', size: 2, label: '<b>loop</b>', bytes: 'eb fe', text: 'jmp 0x8002', source: 'jmp loop', line: 2, data: false },
      ] },
      codes: {},
      registers: {
        general: [{ name: 'rax', digits: '0000000000000005', was: '0000000000000004' }, { name: 'rip', digits: '0000000000008002', was: null }],
        flags: [{ name: 'ZF', value: 1, was: 0, words: 'zero' }, { name: 'CF', value: 0, was: null, words: 'carry' }],
        segments: [{ name: 'cs', digits: '0008', was: null, base: '0x0', limit: '0xffff', words: 'code' }],
        control: [{ name: 'cr0', digits: '11', was: null, bits: ['PE', 'ET'] }],
      },
      stack: { pointer: '0x7000', width: 8, rows: [{ address: '0x7000', offset: 0, digits: '0000000000008002', words: 'loop', changed: true }] },
      windows: [],
      console: { text: '<script>', cut: 0 },
    },
  },
  ...more,
});

describe('the view', () => {
  let sent;
  let heard;
  let channel;
  let root;
  const find = (selector) => root.querySelector(selector);
  const of = (op) => sent.filter((message) => message.op === op);
  const press = (target, key, more = {}) => target.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true, ...more }));
  const show = (more) => heard(snapshot(more), []);

  beforeEach(() => {
    const frames = [];
    vi.stubGlobal('requestAnimationFrame', (work) => frames.push(work));
    const hear = (listener) => {
      heard = (...message) => {
        listener(...message);
        frames.splice(0).forEach((work) => work());
      };
    };
    sent = [];
    channel = new Channel({ send: (message) => sent.push(message), hear, onLost: () => undefined });
    root = document.createElement('div');
    document.body.replaceChildren(root);
    mountMachine(root, channel);
    show();
  });
  const answer = async (message, more = {}) => {
    heard({ v: 1, op: 'answer', to: channel.view, id: message.id, ok: true, says: '', ...more }, []);
    await new Promise((later) => setTimeout(later));
  };

  it('marks the next instruction by a shape, a word and aria-current', () => {
    const row = find('tr[aria-current]');
    expect(row.dataset.address).toBe('0x8002');
    expect(row.querySelector('.kvmdbg-here').textContent).toBe('▶next instruction');
  });
  it('shows hostile text as text', () => {
    expect(find('.kvmdbg-label').textContent).toBe('<b>loop</b>:');
    expect(root.querySelectorAll('b:not(.kvmdbg-register b), script').length).toBe(0);
  });
  it('says a breakpoint in the gutter', () => {
    const button = find('tr[aria-current] button');
    expect([button.textContent, button.getAttribute('aria-pressed'), button.title]).toEqual(['●', 'true', '3: sw -x at loop (F9)']);
  });
  it('toggles a breakpoint by a click and by F9', () => {
    find('tr[data-address="0x8000"] button').click();
    press(find('tr[data-address="0x8002"]'), 'F9');
    expect(of('bp').map((m) => [m.action, m.where])).toEqual([['toggle', '0x8000'], ['toggle', '0x8002']]);
  });
  it('goes through the rows by the arrow keys', () => {
    find('tr[data-address="0x8000"]').focus();
    press(document.activeElement, 'ArrowDown');
    expect(document.activeElement.dataset.address).toBe('0x8002');
  });
  it('keeps the focus on its address when the rows move', () => {
    find('tr[data-address="0x8002"]').focus();
    const later = snapshot();
    later.parts.machine.code.rows.shift();
    heard(later, []);
    expect(document.activeElement.dataset.address).toBe('0x8002');
  });
  it('runs to the chosen line, and says how to choose one', () => {
    press(root.firstChild, 'F10', { ctrlKey: true });
    expect(of('do')).toEqual([]);
    expect(find('.kvmdbg-progress').textContent).toContain('choose a line of code first');
    find('tr[data-address="0x8000"]').focus();
    press(document.activeElement, 'F10', { ctrlKey: true });
    expect(of('do').map((m) => [m.action, m.where])).toEqual([['until', '0x8000']]);
  });
  it('tells what a changed register was', () => {
    const button = find('[data-name="rax"]');
    expect([button.title, button.textContent]).toEqual(['was 0000000000000004', 'rax0000000000000005▲, changed, was 0000000000000004']);
  });
  it('shows the other forms of the register that has the focus', () => {
    find('[data-name="rax"]').focus();
    expect(find('.kvmdbg-forms').textContent).toContain('al05');
  });
  it('draws the tables of registers when they are opened', () => {
    const twin = [...root.querySelectorAll('details')].find((d) => d.textContent.includes('as a table'));
    twin.open = true;
    twin.dispatchEvent(new Event('toggle'));
    expect(twin.textContent).toContain('▲ was 0000000000000004');
  });
  it('enables stop alone while the guest runs, with progress, and takes both back', () => {
    const enabled = () => [...root.querySelectorAll('.kvmdbg-control[aria-disabled="false"]')].map((b) => b.dataset.action);
    expect(enabled()).not.toContain('stop');
    heard({ v: 1, op: 'running', says: 'running', seconds: 2, executed: 5e6, per_second: 2.5e6 }, []);
    expect(enabled()).toEqual(['stop']);
    expect(find('.kvmdbg-progress').textContent).toBe('running for 2.0 s: 5.0 million instructions, 2.5 million a second; Shift+F8 stops it');
    show();
    expect(enabled()).not.toContain('stop');
    expect(find('.kvmdbg-progress').textContent).toBe('');
  });
  it('asks for a window around the guest at first, under its page\'s name', () => {
    expect(of('window')).toMatchObject([{ name: `${channel.view}:m1`, where: '0x8002', length: 128 }]);
  });
  const withWindow = (more = {}) => {
    const later = snapshot({ breakpoints: [breakpoint({ number: 9, address: '0x9001', access: 'w', kind: 'hw', words: '9: hw -w 1' })] });
    later.parts.machine.windows = [
      { name: `${channel.view}:m1`, where: 'data', length: 4, address: '0x9000', data: '41004243', changed: [[0, 1]], says: '', ...more },
      { name: 'other:m1', where: 'x', length: 4, address: '0x1', data: '00', changed: [], says: '' },
    ];
    heard(later, []);
  };
  it('shows its page\'s windows and no others', () => {
    withWindow();
    expect(root.querySelectorAll('.kvmdbg-window').length).toBe(1);
  });
  it('marks changed and watched bytes in words too', () => {
    withWindow();
    expect([...root.querySelectorAll('td[data-offset]')].map((td) => td.title)).toEqual(['changed', 'watched: 9: hw -w 1', '', '']);
  });
  it('watches a byte by Enter and a button', () => {
    withWindow();
    find('td[data-offset="2"]').focus();
    press(document.activeElement, 'Enter');
    expect(document.activeElement.textContent).toBe('Watch writes here');
    document.activeElement.click();
    expect(of('bp')).toMatchObject([{ action: 'set', where: '0x9002', access: 'w', length: 1 }]);
  });
  it('offers to delete the watchpoint of a watched byte', () => {
    withWindow();
    find('td[data-offset="1"]').click();
    const offered = [...root.querySelectorAll('.kvmdbg-watch button:not([hidden])')];
    expect(offered.map((button) => button.textContent)).toEqual(['Delete watchpoint 9']);
    offered[0].click();
    expect(of('bp')).toMatchObject([{ action: 'delete', number: 9 }]);
  });
  it('says in one line why a window shows nothing', () => {
    withWindow({ data: '', address: '', says: '0x9000 is not mapped' });
    expect(find('.kvmdbg-window .kvmdbg-note').textContent).toBe('0x9000 is not mapped');
  });
  it('removes a window by asking for no bytes', () => {
    withWindow();
    find('[aria-label="Remove the window at data"]').click();
    expect(of('window').at(-1)).toMatchObject({ name: `${channel.view}:m1`, length: 0 });
  });
  it('jumps to an address and back, under its page\'s name', async () => {
    find('.kvmdbg-jump input').value = 'loop';
    find('.kvmdbg-jump').dispatchEvent(new Event('submit', { cancelable: true }));
    expect(of('window').at(-1)).toMatchObject({ name: `${channel.view}:code`, where: 'loop', length: 1 });
    const later = snapshot();
    later.parts.machine.codes = { [`${channel.view}:code`]: { where: 'loop', says: '', rows: [later.parts.machine.code.rows[1]] } };
    heard(later, []);
    expect(root.querySelectorAll('tr[data-address]').length).toBe(1);
    [...root.querySelectorAll('button')].find((b) => b.textContent === 'Follow the guest').click();
    expect(of('window').at(-1)).toMatchObject({ name: `${channel.view}:code`, length: 0 });
  });
  it('inspects what is chosen, and one thing at a time', async () => {
    const inspect = find('.kvmdbg-panel-inspect');
    inspect.open = true;
    inspect.dispatchEvent(new Event('toggle'));
    for (let n = 0; n < 5; n++) show();
    expect(of('inspect').length).toBe(1);
    await answer(of('inspect')[0], { data: [{ title: 'The way of 0x8002', note: '', tables: [] }] });
    expect(inspect.textContent).toContain('The way of 0x8002');
    expect(of('inspect').length).toBe(2);
  });
  it('has one stop of Tab in each of its groups', () => {
    withWindow();
    for (const group of ['.kvmdbg-controls', '.kvmdbg-registers', '.kvmdbg-flags', '.kvmdbg-code', '.kvmdbg-dump'])
      expect([group, root.querySelectorAll(`${group} [tabindex="0"]`).length]).toEqual([group, 1]);
  });
  it('is gone when it is unmounted', () => {
    const other = document.createElement('div');
    mountMachine(other, channel)();
    heard(snapshot(), []);
    expect(other.childNodes.length).toBe(0);
  });
});

describe('what cannot be pressed', () => {
  const control = (action) => CONTROLS.find((c) => c.action === action);
  it('is what goes back in time, where there is no clock', () => {
    const channel = { state: 'live', snapshot: { state: 'stopped', clock: -1 } };
    expect(whyNot(control('step-back'), channel)).toBe('this engine cannot go back in time');
    expect(whyNot(control('step'), channel)).toBe('');
  });
  it('is everything, where there is no VM', () => {
    const channel = { state: 'live', snapshot: { state: 'none' } };
    expect(CONTROLS.filter((c) => whyNot(c, channel) === '')).toEqual([]);
  });
});
