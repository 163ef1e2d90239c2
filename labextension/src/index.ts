/**
 * The extension's plugins: the bench that they share, assembly cells, the panel with its commands,
 * the status bar's item, saved views. Only here it is said which of JupyterLab's services each of them
 * needs; all are optional but the notebook tracker, for Notebook 7 has fewer of them. Must not know:
 * what the plugins do.
 */
import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { EditorExtensionRegistry, IEditorExtensionRegistry } from '@jupyterlab/codemirror';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';

import { atMostEvery } from '../../kvmdbg/jupyter/widgets/esm/dom.js';
import { AsmCells } from './asmcell';
import { Bench, IBench, PANEL_ID, complain } from './bench';
import { Breakpoints } from './breakpoints';
import { addCommands } from './commands';
import { CellCursor } from './cursor';
import { breakpointGutter } from './gutter';
import { chipIcon } from './icons';
import { Links } from './links';
import { MachinePanel } from './panel';
import { Preferences } from './preferences';
import { StatusItem, addStatusItem } from './statusbar';
import { keepStills } from './still';

const SETTINGS = 'kvmdbg-lab:plugin';
const SHOW_PANEL = 'kvmdbg:show-panel';
const CATEGORY = 'kvmdbg';
/** ms between two looks of a gutter: an editor takes as long as all else that a snapshot changes. */
const EDITORS = 100;

const bench: JupyterFrontEndPlugin<Bench> = {
  id: 'kvmdbg-lab:bench',
  description: "The notebooks' lines to their VMs, and the settings.",
  autoStart: true,
  provides: IBench,
  requires: [INotebookTracker],
  optional: [ISettingRegistry],
  activate: (_app, tracker: INotebookTracker, registry: ISettingRegistry | null): Bench => {
    const preferences = new Preferences();
    registry?.load(SETTINGS).then(
      settings => preferences.follow(settings),
      () => console.info('kvmdbg: the settings could not be read; the defaults hold')
    );
    return { links: new Links(tracker), preferences };
  }
};

/** Assembly cells, and the commands: two of these are about a cell's line. */
const cells: JupyterFrontEndPlugin<void> = {
  id: 'kvmdbg-lab:cells',
  description: 'Colours and the breakpoint gutter of %%asm cells; the commands.',
  autoStart: true,
  requires: [IBench, INotebookTracker, IEditorExtensionRegistry],
  optional: [ICommandPalette],
  activate: (
    app,
    { links, preferences }: Bench,
    tracker: INotebookTracker,
    editors: IEditorExtensionRegistry,
    palette: ICommandPalette | null
  ) => {
    const breakpoints = new Breakpoints(view => links.of(view.dom)?.live ?? null, complain);
    const gutter = breakpointGutter((view, line) => void breakpoints.toggle(view, line));
    let shown = preferences.gutter;
    const asm = new AsmCells(
      () => (shown ? gutter : []),
      view => breakpoints.refresh(view)
    );
    editors.addExtension({
      name: 'kvmdbg-lab:asm',
      factory: ({ inline, model }) =>
        inline
          ? EditorExtensionRegistry.createImmutableExtension(
              asm.extension(model.sharedModel.getSource())
            )
          : null
    });
    preferences.changed.connect(() => {
      if (shown !== preferences.gutter) {
        shown = preferences.gutter;
        asm.renew();
      }
    });
    followSnapshots(links, () => asm.views.forEach(view => breakpoints.refresh(view)));
    const cursor = new CellCursor(tracker, asm, breakpoints);
    for (const command of addCommands(app.commands, links, cursor, complain)) {
      palette?.addItem({ command, category: CATEGORY });
    }
  }
};

/** Ask each channel for the program's lines, and say when there is something new on one. */
function followSnapshots(links: Links, changed: () => void): void {
  const known = new WeakSet<object>();
  const soon = atMostEvery(EDITORS, changed);
  links.linkChanged.connect((_, { channel }) => {
    if (channel && !known.has(channel)) {
      known.add(channel);
      channel.want(['listing']);
      channel.on('snapshot', soon);
    }
    soon();
  });
}

const panel: JupyterFrontEndPlugin<void> = {
  id: SETTINGS,
  description: 'The side panel with the machine of the active notebook.',
  autoStart: true,
  requires: [IBench],
  optional: [ICommandPalette, ILayoutRestorer],
  activate: (
    app,
    { links, preferences }: Bench,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null
  ) => {
    const widget = new MachinePanel({ links, preferences });
    app.shell.add(widget, 'right', { rank: 900, type: 'kvmdbg' });
    restorer?.add(widget, PANEL_ID);
    app.commands.addCommand(SHOW_PANEL, {
      label: 'Show Panel',
      caption: "Show the active notebook's guest beside it",
      icon: chipIcon,
      describedBy: { args: { type: 'object', properties: {} } },
      execute: () => app.shell.activateById(PANEL_ID)
    });
    palette?.addItem({ command: SHOW_PANEL, category: CATEGORY });
    void app.restored.then(() => showOnStart(app, preferences));
  }
};

/** The settings may come before or after the page is restored; only the first of them count. */
function showOnStart(app: JupyterFrontEnd, preferences: Preferences): void {
  const show = () => {
    preferences.changed.disconnect(show);
    if (preferences.showPanelOnStart) {
      app.shell.activateById(PANEL_ID);
    }
  };
  if (preferences.showPanelOnStart) {
    show();
  } else if (!preferences.read) {
    preferences.changed.connect(show);
  }
}

const status: JupyterFrontEndPlugin<void> = {
  id: 'kvmdbg-lab:status',
  description: "Engine, mode and pc of the active notebook's VM in the status bar.",
  autoStart: true,
  requires: [IBench],
  optional: [IStatusBar],
  activate: (app, shared: Bench, bar: IStatusBar | null) => {
    if (bar) {
      addStatusItem(bar, new StatusItem(shared, () => void app.commands.execute(SHOW_PANEL)));
    }
  }
};

const stills: JupyterFrontEndPlugin<void> = {
  id: 'kvmdbg-lab:stills',
  description: "Views of saved notebooks, without their kernel: as they stood.",
  autoStart: true,
  requires: [INotebookTracker],
  activate: (_app, tracker: INotebookTracker) => {
    tracker.forEach(keepStills);
    tracker.widgetAdded.connect((_, notebook) => keepStills(notebook));
  }
};

export default [bench, cells, panel, status, stills];
