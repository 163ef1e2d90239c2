/** What the commands ask of the VM, when they can be given, and by which keys. */
import { readFileSync } from 'node:fs';

import { CommandRegistry } from '@lumino/commands';
import { Signal } from '@lumino/signaling';
import { describe, expect, it, vi } from 'vitest';

import { addCommands } from '../src/commands';

// JupyterLab's icons are React components that jsdom cannot load.
vi.mock('../src/icons', () => ({ icons: {} }));

const SCHEMA = JSON.parse(readFileSync(`${__dirname}/../schema/plugin.json`, 'utf-8'));
const SHORTCUTS: { command: string; keys: string[]; selector: string }[] =
  SCHEMA['jupyter.lab.shortcuts'];

function bench(state: string | null = 'live', snapshot: object = { state: 'stopped', clock: 5 }) {
  const ask = vi.fn(async (): Promise<any> => ({ ok: true, says: '' }));
  const links: any = { current: { live: state && { state, ask, snapshot } } };
  links.currentChanged = new Signal(links);
  const cursor = { inCell: true, address: vi.fn((): string | null => '0x8003'), toggle: vi.fn(async () => undefined) };
  const complaints: string[] = [];
  const commands = new CommandRegistry();
  const ids = addCommands(commands, links, cursor, says => void complaints.push(says));
  return { ask, links, cursor, complaints, commands, ids };
}

describe('the commands', () => {
  it.each([
    ['step', { action: 'step' }],
    ['over', { action: 'over' }],
    ['out', { action: 'out' }],
    ['step-back', { action: 'step-back' }],
    ['back', { action: 'back' }],
    ['continue', { action: 'continue' }],
    ['reset', { action: 'reset' }],
    ['stop', { action: 'stop' }],
    ['until', { action: 'until', where: '0x8003' }]
  ])('%s asks for %j', async (name, fields) => {
    const { commands, ask } = bench();
    await commands.execute(`kvmdbg:${name}`);
    expect(ask.mock.calls).toEqual([['do', fields]]);
  });

  it('cannot be given without a VM, but for the breakpoint of a line', () => {
    const { commands, ids } = bench(null);
    expect(ids.filter(id => commands.isEnabled(id))).toEqual(['kvmdbg:toggle-breakpoint']);
  });

  it('cannot be given while the guest runs, but for stop and the breakpoint', () => {
    const { commands, ids } = bench('running');
    expect(ids.filter(id => commands.isEnabled(id))).toEqual([
      'kvmdbg:stop',
      'kvmdbg:toggle-breakpoint'
    ]);
  });

  it('need an assembly cell where they are about a line', () => {
    const { commands, cursor } = bench();
    cursor.inCell = false;
    expect(commands.isEnabled('kvmdbg:until')).toBe(false);
    expect(commands.isEnabled('kvmdbg:toggle-breakpoint')).toBe(false);
  });

  it('say what the kernel refused', async () => {
    const { commands, ask, complaints } = bench();
    ask.mockResolvedValue({ ok: false, says: 'busy' });
    await commands.execute('kvmdbg:step');
    expect(complaints).toEqual(['busy']);
  });

  it('do not run to a line of another program', async () => {
    const { commands, cursor, ask, complaints } = bench();
    cursor.address.mockReturnValue(null);
    await commands.execute('kvmdbg:until');
    expect([ask.mock.calls, complaints.length]).toEqual([[], 1]);
  });

  it('cannot go back in time where the engine cannot', () => {
    const { commands } = bench('live', { state: 'stopped', clock: -1 });
    expect(commands.isEnabled('kvmdbg:step-back')).toBe(false);
  });

  it('have a name in the palette', () => {
    const { commands, ids } = bench();
    expect(ids.filter(id => !commands.label(id))).toEqual([]);
  });

  it('do not pile up steps while a key is held, and stop at once', async () => {
    const { commands, ask } = bench();
    ask.mockReturnValue(new Promise(() => undefined));
    for (let count = 0; count < 10; count += 1) {
      void commands.execute('kvmdbg:step');
    }
    void commands.execute('kvmdbg:stop');
    expect(ask.mock.calls.map((call: any) => call[1].action)).toEqual(['step', 'stop']);
  });
});

describe('the keys', () => {
  it('are for commands that there are', () => {
    const { ids } = bench();
    expect(SHORTCUTS.filter(({ command }) => !ids.includes(command))).toEqual([]);
  });

  it('have selectors that JupyterLab takes', () => {
    const { commands } = bench();
    for (const { command, keys, selector } of SHORTCUTS) {
      expect(() => commands.addKeyBinding({ command, keys, selector, args: {} })).not.toThrow();
      expect(document.querySelector(selector)).toBeNull();
    }
  });

  it("leave Lab's own debugger its keys while it is stopped in a cell", () => {
    document.body.innerHTML =
      '<div class="jp-NotebookPanel" data-kvmdbg="live"><div id="cell"></div></div>';
    const keys = () =>
      SHORTCUTS.filter(({ selector }) => document.querySelector('#cell')?.closest(selector));
    expect(keys()).not.toEqual([]);
    document.body.dataset.jpDebuggerStoppedThreads = 'true';
    expect(keys()).toEqual([]);
  });
});
