/**
 * Where the cursor is, for the commands that are about its line. Must not know: what they do.
 */
import { CodeMirrorEditor } from '@jupyterlab/codemirror';
import type { INotebookTracker } from '@jupyterlab/notebook';
import type { EditorView } from '@codemirror/view';

import type { AsmCells } from './asmcell';
import type { Breakpoints } from './breakpoints';
import type { Cursor } from './commands';

export class CellCursor implements Cursor {
  constructor(
    private readonly tracker: INotebookTracker,
    private readonly cells: AsmCells,
    private readonly breakpoints: Breakpoints
  ) {}

  get inCell(): boolean {
    return this.view !== null;
  }

  address(): string | null {
    const { view } = this;
    return view && this.breakpoints.addressOf(view, lineOf(view));
  }

  async toggle(): Promise<void> {
    const { view } = this;
    if (view) {
      await this.breakpoints.toggle(view, lineOf(view));
    }
  }

  private get view(): EditorView | null {
    const editor = this.tracker.activeCell?.editor;
    const view = editor instanceof CodeMirrorEditor ? editor.editor : null;
    return view && this.cells.views.has(view) ? view : null;
  }
}

function lineOf(view: EditorView): number {
  return view.state.doc.lineAt(view.state.selection.main.head).number;
}
