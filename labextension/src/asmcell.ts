/**
 * What an editor becomes while its first line is `%%asm`: coloured, with a gutter, and known to
 * whoever asks for such editors. Must not know: kernels.
 */
import { Compartment, EditorState, Extension, Prec, Text } from '@codemirror/state';
import { EditorView, ViewPlugin, ViewUpdate } from '@codemirror/view';

import { commentOf, dialectOf, headOf } from './highlight/dialect';
import { asmLanguage } from './highlight/language';

/** The assembly cells that are on the page, and what is told when one comes or changes. */
export class AsmCells {
  readonly views = new Set<EditorView>();
  private readonly slot = new Compartment();

  constructor(
    private readonly gutter: () => Extension,
    private readonly changed: (view: EditorView) => void
  ) {}

  /** For every editor of the page. */
  extension(source: string): Extension {
    const slot = this.slot;
    const follow = EditorState.transactionExtender.of(transaction => {
      const { startState, newDoc } = transaction;
      const is = head(newDoc) > 0;
      const was = (slot.get(startState) as Extension[] | undefined)?.length !== 0;
      return transaction.docChanged && is !== was
        ? { effects: slot.reconfigure(is ? this.inside() : []) }
        : null;
    });
    return [slot.of(head(Text.of(source.split('\n'))) ? this.inside() : []), follow];
  }

  /** Take over another gutter, or none. */
  renew(): void {
    for (const view of [...this.views]) {
      view.dispatch({ effects: this.slot.reconfigure(this.inside()) });
      this.changed(view);
    }
  }

  private inside(): Extension[] {
    return [
      // CodeMirror takes the first language that it finds, and IPython's is there too.
      Prec.highest([asmLanguage, comments]),
      EditorView.editorAttributes.of({ class: 'kvmdbg-asm' }),
      this.registered(),
      this.gutter()
    ];
  }

  private registered(): Extension {
    const { views, changed } = this;
    return ViewPlugin.define(view => {
      views.add(view);
      // A view must not be told anything while it is being made or updated.
      const soon = () => queueMicrotask(() => views.has(view) && changed(view));
      soon();
      return {
        update: (update: ViewUpdate) => void (update.docChanged && soon()),
        destroy: () => void views.delete(view)
      };
    });
  }
}

/** What Ctrl-/ writes depends on the dialect. */
const comments = EditorState.languageData.of(state => {
  const line = state.doc.line(Math.max(head(state.doc), 1)).text;
  return [{ commentTokens: { line: commentOf(dialectOf(line)) } }];
});

/** The number of the `%%asm` line, or 0. */
function head(doc: Text): number {
  return headOf(doc.iterLines());
}
