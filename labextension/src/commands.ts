/**
 * The commands: what the machine view's buttons do, for the active notebook's VM, and two about the
 * cursor's line. Their keys are in schema/plugin.json, where the user can change them. Must not know:
 * notebooks' cells, editors.
 */
import type { CommandRegistry } from '@lumino/commands';

import type { Channel } from '../../kvmdbg/jupyter/widgets/esm/channel.js';
import { CONTROLS, Turns, whyNot } from '../../kvmdbg/jupyter/widgets/esm/controls.js';
import { icons } from './icons';
import type { Links } from './links';

type Control = (typeof CONTROLS)[number];

/** What the palette calls them: there they stand without the bar's picture. */
const LABELS: Record<string, string> = {
  step: 'Step',
  over: 'Step Over',
  out: 'Step Out',
  'step-back': 'Step Back',
  back: 'Back to the Previous Stop',
  continue: 'Continue',
  until: 'Run to Cursor',
  stop: 'Stop',
  reset: 'Reset'
};

/** What the cursor's line can be used for; the editors' side of the commands. */
export interface Cursor {
  /** Whether the cursor is in an assembly cell. */
  readonly inCell: boolean;
  /** The address of its line in the loaded program. */
  address(): string | null;
  toggle(): Promise<void>;
}

const NO_ARGUMENTS = { type: 'object', properties: {} } as const;

/** @param complain says one line about what did not work */
export function addCommands(
  commands: CommandRegistry,
  links: Links,
  cursor: Cursor,
  complain: (says: string) => void
): string[] {
  const turnsOf = turns(complain);
  let known = '';
  links.currentChanged.connect(() => {
    const now = [cursor.inCell, ...CONTROLS.map(control => possible(control, links))].join();
    if (now !== known) {
      known = now;
      commands.notifyCommandChanged(); // Lab draws all of its toolbars anew: not at each stop
    }
  });
  const add = (id: string, options: CommandRegistry.ICommandOptions) => {
    commands.addCommand(id, { describedBy: { args: NO_ARGUMENTS }, ...options });
    return id;
  };
  const drive = (control: Control) => {
    const { action, words } = control;
    const atLine = action === 'until';
    return add(`kvmdbg:${action}`, {
      label: LABELS[action],
      caption: words,
      icon: icons[action],
      isEnabled: () => possible(control, links) && (!atLine || cursor.inCell),
      execute: async () => {
        const channel = links.current?.live;
        const where = atLine ? cursor.address() : '';
        if (where === null) {
          complain('this cell is not the loaded program: run it first');
        } else if (channel) {
          await turnsOf(channel).press(action, atLine ? { where } : {});
        }
      }
    });
  };
  return [
    ...CONTROLS.map(drive),
    add('kvmdbg:toggle-breakpoint', {
      label: 'Toggle Breakpoint',
      caption: "set or delete a breakpoint on the cursor's line",
      icon: icons.breakpoint,
      isEnabled: () => cursor.inCell,
      execute: () => cursor.toggle()
    })
  ];
}

/** Stop may always be given: a run is only known to the page once it lasts. */
function possible(control: Control, links: Links): boolean {
  const channel = links.current?.live;
  return !!channel && (control.action === 'stop' || !whyNot(control, channel));
}

/** The requests of each channel go one after the other, though a key is held. */
function turns(complain: (says: string) => void): (channel: Channel) => Turns {
  const known = new WeakMap<Channel, Turns>();
  return channel => {
    const found =
      known.get(channel) ??
      new Turns(
        (op, fields) => channel.ask(op, fields),
        says => says && complain(says)
      );
    known.set(channel, found);
    return found;
  };
}
