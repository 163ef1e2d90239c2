/** What the side panel shows of which notebook. */
import { Signal } from '@lumino/signaling';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Channel } from '../../kvmdbg/jupyter/widgets/esm/channel.js';
import { MachinePanel } from '../src/panel';

// jsdom has no drag and drop, which Lumino's widgets ask for when they are imported.
vi.hoisted(() => void (globalThis.DragEvent ??= class extends MouseEvent {} as typeof DragEvent));
vi.mock('../src/icons', () => ({ chipIcon: undefined }));
vi.mock('../src/bench', () => ({ PANEL_ID: 'panel' }));

/** A channel that has heard one snapshot, and what it sends. */
function channelWith(says: string) {
  const sent: any[] = [];
  let hear: (message: any, buffers: DataView[]) => void = () => undefined;
  const line = {
    send: (message: any) => void sent.push(message),
    hear: (heard: typeof hear) => void (hear = heard),
    onLost: () => undefined
  };
  const channel = new Channel(line);
  hear({ v: 1, op: 'snapshot', state: 'stopped', says, parts: {} }, []);
  return { channel, sent, tell: (message: any) => hear({ v: 1, ...message }, []) };
}

const link = (channel: Channel | null, presence = 'there') =>
  ({ channel, live: channel, presence }) as any;

let links: any;
let preferences: any;
let panel: MachinePanel;

function follow(next: any): void {
  links.current = next;
  links.currentChanged.emit(undefined);
}

const says = () => panel.node.querySelector('.kvmdbg-says');

beforeEach(() => {
  links = { current: null };
  links.currentChanged = new Signal(links);
  preferences = { announceProgress: true };
  preferences.changed = new Signal(preferences);
  panel = new MachinePanel({ links, preferences });
  Object.defineProperty(panel, 'isVisible', { get: () => !panel.isHidden });
  document.body.append(panel.node);
});

afterEach(() => panel.dispose());

describe('the panel', () => {
  it('asks for a notebook where there is none', () => {
    follow(null);
    expect(panel.node.textContent).toContain('Open a notebook');
  });

  it('tells how to load kvmdbg where it is not', () => {
    follow(link(null, 'absent'));
    expect(panel.node.querySelector('code')?.textContent).toBe('%load_ext kvmdbg');
  });

  it('says that a notebook has no kernel', () => {
    follow(link(null, 'none'));
    expect(panel.node.textContent).toContain('no kernel');
  });

  it("shows the active notebook's VM, and then another's", () => {
    follow(link(channelWith('one').channel));
    expect(says()?.textContent).toBe('one');
    follow(link(channelWith('two').channel));
    expect([...panel.node.querySelectorAll('.kvmdbg-view')]).toHaveLength(1);
    expect(says()?.textContent).toBe('two');
  });

  it('is not drawn anew while the channel is the same', () => {
    const { channel } = channelWith('one');
    follow(link(channel));
    const before = panel.node.firstChild;
    follow(link(channel));
    expect(panel.node.firstChild).toBe(before);
  });

  it('wants the machine, and nothing any more when it is hidden', () => {
    const { channel, sent } = channelWith('one');
    follow(link(channel));
    expect(sent.at(-1)).toMatchObject({ op: 'hello', wants: ['machine'] });
    panel.hide();
    (panel as any).onAfterHide();
    expect(sent.at(-1)).toMatchObject({ op: 'hello', wants: [] });
  });

  it('keeps quiet about a long run if the user wants that, but not about its end', () => {
    const { channel, tell } = channelWith('one');
    preferences.announceProgress = false;
    follow(link(channel));
    const then = (message: any) => (tell(message), follow(links.current), says());
    expect(then({ op: 'running', says: '2 s' })?.getAttribute('aria-live')).toBe('off');
    const end = { op: 'snapshot', state: 'stopped', says: 'end', parts: {} };
    expect(then(end)?.getAttribute('aria-live')).toBe('polite');
  });
});
