/**
 * The commands: their names, what they ask of the VM, when they can be given. Their keys are in
 * schema/plugin.json, where the user can change them. Must not know: notebooks' cells, editors.
 */
import type { CommandRegistry } from '@lumino/commands';

import { icons } from './icons';
import type { Links } from './links';

/** Asks that may wait for an answer while a key is held: more would go on after it is let go. */
const AHEAD = 3;

interface Drive {
  id: string;
  label: string;
  caption: string;
  icon: (typeof icons)[keyof typeof icons];
  fields: Record<string, unknown>;
}

const DRIVES: Drive[] = [
  {
    id: 'kvmdbg:step',
    label: 'Step',
    caption: 'Execute one instruction',
    icon: icons.step,
    fields: { action: 'step', count: 1 }
  },
  {
    id: 'kvmdbg:step-over',
    label: 'Step Over',
    caption: 'Execute one instruction, a call with all it calls',
    icon: icons.over,
    fields: { action: 'over' }
  },
  {
    id: 'kvmdbg:step-out',
    label: 'Step Out',
    caption: 'Run to where this function returns',
    icon: icons.out,
    fields: { action: 'out' }
  },
  {
    id: 'kvmdbg:step-back',
    label: 'Step Back',
    caption: 'Go back by one instruction',
    icon: icons.back,
    fields: { action: 'step-back' }
  },
  {
    id: 'kvmdbg:continue',
    label: 'Continue',
    caption: 'Run until something stops the guest',
    icon: icons.continue,
    fields: { action: 'continue' }
  },
  {
    id: 'kvmdbg:reset',
    label: 'Reset',
    caption: 'Begin the loaded program anew',
    icon: icons.reset,
    fields: { action: 'reset' }
  }
];

/** What the cursor's line can be used for; the editors' side of the commands. */
export interface Cursor {
  /** Whether the cursor is in an assembly cell. */
  readonly inCell: boolean;
  /** The address of its line in the loaded program. */
  address(): string | null;
  toggle(): Promise<void>;
}

/** @param complain says one line about what did not work */
export function addCommands(
  commands: CommandRegistry,
  links: Links,
  cursor: Cursor,
  complain: (says: string) => void
): string[] {
  let unanswered = 0;
  const drive = async (fields: Record<string, unknown>) => {
    const channel = links.current?.live;
    if (!channel || unanswered >= AHEAD) {
      return;
    }
    unanswered += 1;
    const answer = await channel.ask('do', fields);
    unanswered -= 1;
    if (!answer.ok) {
      complain(answer.says);
    }
  };
  const stopped = () => links.current?.live?.state === 'live';
  const add = (id: string, options: Partial<CommandRegistry.ICommandOptions>) => {
    commands.addCommand(id, { describedBy: { args: NO_ARGUMENTS }, execute: () => undefined, ...options });
    return id;
  };
  links.currentChanged.connect(() => commands.notifyCommandChanged());
  return [
    ...DRIVES.map(({ id, label, caption, icon, fields }) =>
      add(id, { label, caption, icon, isEnabled: stopped, execute: () => drive(fields) })
    ),
    add('kvmdbg:stop', {
      label: 'Stop',
      caption: 'Stop the running guest',
      icon: icons.stop,
      isEnabled: () => !!links.current?.live,
      execute: () => stop(links, complain)
    }),
    add('kvmdbg:run-to-cursor', {
      label: 'Run to Cursor',
      caption: "Run until the guest comes to the cursor's line",
      icon: icons.guest,
      isEnabled: () => stopped() && cursor.inCell,
      execute: () => runTo(cursor.address(), drive, complain)
    }),
    add('kvmdbg:toggle-breakpoint', {
      label: 'Toggle Breakpoint',
      caption: "Set or delete a breakpoint on the cursor's line",
      icon: icons.guest,
      isEnabled: () => cursor.inCell,
      execute: () => cursor.toggle()
    })
  ];
}

const NO_ARGUMENTS = { type: 'object', properties: {} } as const;

/** Stop does not wait behind unanswered steps. */
async function stop(links: Links, complain: (says: string) => void): Promise<void> {
  const answer = await links.current?.live?.ask('do', { action: 'stop' });
  if (answer && !answer.ok) {
    complain(answer.says);
  }
}

async function runTo(
  where: string | null,
  drive: (fields: Record<string, unknown>) => Promise<void>,
  complain: (says: string) => void
): Promise<void> {
  if (where === null) {
    complain('this cell is not the loaded program: run it first');
    return;
  }
  await drive({ action: 'until', where });
}
