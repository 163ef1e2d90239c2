/**
 * The gutter of a `%%asm` cell: a dot for each breakpoint, an arrow at the current line. What it
 * shows is told by effects. Must not know: kernels, or what a click does.
 */
import {
  Extension,
  MapMode,
  RangeSet,
  RangeSetBuilder,
  StateEffect,
  StateField,
  Text,
  Transaction
} from '@codemirror/state';
import { Decoration, EditorView, GutterMarker, gutter } from '@codemirror/view';

import type { Facts, Kind, Wanted } from './listing';

type Look = Kind | 'pending' | 'here';

const SYMBOLS: Record<Look, string> = {
  set: '●',
  disabled: '⊘',
  watch: '◆',
  pending: '○',
  here: '▶'
};

const PENDING = 'breakpoint, set when this cell is run; click to take it away';

class Sign extends GutterMarker {
  constructor(
    readonly look: Look,
    readonly says: string,
    readonly number: number | null = null
  ) {
    super();
  }

  eq(other: Sign): boolean {
    return this.look === other.look && this.says === other.says && this.number === other.number;
  }

  toDOM(): HTMLElement {
    const sign = document.createElement('span');
    sign.className = `kvmdbg-lab-sign kvmdbg-lab-sign-${this.look}`;
    sign.textContent = SYMBOLS[this.look];
    sign.title = this.says;
    sign.setAttribute('role', 'img');
    sign.setAttribute('aria-label', this.says);
    return sign;
  }
}

/** What a gutter shows. `loaded`: the dots are the VM's breakpoints and not only wanted ones. */
interface Shown {
  loaded: boolean;
  dots: RangeSet<Sign>;
  here: number | null;
}

/** The cell holds the loaded program, and this is known of it; null: it does not. */
const tell = StateEffect.define<Facts | null>();
/** A wanted breakpoint beside this line, or none any more. */
const flip = StateEffect.define<number>();

const shown = StateField.define<Shown>({
  create: () => ({ loaded: false, dots: RangeSet.empty, here: null }),
  update(before, transaction) {
    let after = transaction.docChanged ? edited(before, transaction) : before;
    for (const effect of transaction.effects) {
      if (effect.is(tell)) {
        after = effect.value ? told(transaction.newDoc, effect.value) : loosened(after);
      } else if (effect.is(flip)) {
        after = { ...after, dots: flipped(after.dots, transaction.newDoc.line(effect.value).from) };
      }
    }
    return after;
  },
  provide: field => EditorView.decorations.from(field, current)
});

function current({ here }: Shown): (view: EditorView) => RangeSet<Decoration> {
  return view =>
    here === null || here > view.state.doc.lines
      ? Decoration.none
      : Decoration.set([LINE.range(view.state.doc.line(here).from)]);
}

const LINE = Decoration.line({ class: 'kvmdbg-lab-here' });

/** An edited cell is not the loaded program; its dots stay beside their lines, one each. */
function edited(before: Shown, transaction: Transaction): Shown {
  const builder = new RangeSetBuilder<Sign>();
  const loose = loosened(before).dots;
  const places = new Map<number, Sign>();
  for (const cursor = loose.iter(); cursor.value; cursor.next()) {
    const at = transaction.changes.mapPos(cursor.from, 1, MapMode.TrackDel);
    if (at !== null) {
      places.set(transaction.newDoc.lineAt(at).from, cursor.value);
    }
  }
  for (const [at, sign] of [...places].sort(([one], [other]) => one - other)) {
    builder.add(at, at, sign);
  }
  return { loaded: false, dots: builder.finish(), here: null };
}

/** The VM's breakpoints become wanted ones. Watchpoints are no line's: they stay with the VM. */
function loosened(before: Shown): Shown {
  if (!before.loaded) {
    return before;
  }
  const builder = new RangeSetBuilder<Sign>();
  let last = -1;
  for (const cursor = before.dots.iter(); cursor.value; cursor.next()) {
    if (cursor.value.look === 'set' && cursor.from !== last) {
      last = cursor.from;
      builder.add(last, last, new Sign('pending', PENDING, cursor.value.number));
    }
  }
  return { loaded: false, dots: builder.finish(), here: null };
}

function told(doc: Text, facts: Facts): Shown {
  const builder = new RangeSetBuilder<Sign>();
  const marks = facts.marks.filter(mark => mark.line <= doc.lines);
  for (const mark of marks.sort((one, other) => one.line - other.line)) {
    const at = doc.line(mark.line).from;
    builder.add(at, at, new Sign(mark.kind, `${mark.says}; click to delete it`, mark.number));
  }
  return { loaded: true, dots: builder.finish(), here: facts.here };
}

function flipped(dots: RangeSet<Sign>, at: number): RangeSet<Sign> {
  let had = false;
  dots.between(at, at, () => {
    had = true;
  });
  return had
    ? dots.update({ filter: from => from !== at })
    : dots.update({ add: [new Sign('pending', PENDING).range(at)] });
}

const ARROW = new Sign('here', 'the next instruction');

function signs(view: EditorView): RangeSet<GutterMarker>[] {
  const { dots, here } = view.state.field(shown);
  const arrow =
    here !== null && here <= view.state.doc.lines
      ? RangeSet.of<GutterMarker>([ARROW.range(view.state.doc.line(here).from)])
      : RangeSet.empty;
  return [dots, arrow];
}

/** The gutter; `clicked` gets the line's number. */
export function breakpointGutter(clicked: (view: EditorView, line: number) => void): Extension {
  return [
    shown,
    gutter({
      class: 'kvmdbg-lab-gutter',
      renderEmptyElements: true, // otherwise lines without a mark cannot be clicked
      markers: signs,
      domEventHandlers: {
        mousedown(view, block, event) {
          if ((event as MouseEvent).button !== 0) {
            return false;
          }
          clicked(view, view.state.doc.lineAt(block.from).number);
          return true;
        }
      }
    })
  ];
}

/** Whether this editor has a gutter. */
export function hasGutter(view: EditorView): boolean {
  return view.state.field(shown, false) !== undefined;
}

/** The breakpoints that a cell wants and its VM does not have yet. */
export function wantedIn(view: EditorView): Wanted[] {
  const { dots, loaded } = view.state.field(shown);
  const found: Wanted[] = [];
  for (const cursor = dots.iter(); cursor.value && !loaded; cursor.next()) {
    found.push({ line: view.state.doc.lineAt(cursor.from).number, number: cursor.value.number });
  }
  return found;
}

/** Show what is known of the cell; null where it is not the loaded program. */
export function show(view: EditorView, facts: Facts | null): void {
  if (facts || view.state.field(shown).loaded) {
    view.dispatch({ effects: tell.of(facts) });
  }
}

/** Want a breakpoint beside a line, or no longer; true if it is wanted now. */
export function want(view: EditorView, line: number): boolean {
  const before = wantedIn(view).length;
  view.dispatch({ effects: flip.of(line) });
  return wantedIn(view).length > before;
}
