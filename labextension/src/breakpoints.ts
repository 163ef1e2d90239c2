/**
 * Between the gutters of `%%asm` cells and their VMs: shows each snapshot's breakpoints, and asks
 * for what a click or F9 wants. In the cell of the loaded program dots are real breakpoints; in any
 * other they are wanted ones, which are asked for when the cell has been run. Must not know: how
 * dots look, or how messages travel.
 */
import { EditorView } from '@codemirror/view';

import type { Channel } from '../../kvmdbg/jupyter/widgets/esm/channel.js';
import { hasGutter, show, want, wantedIn } from './gutter';
import { Facts, factsOf, placeFor, requestsFor } from './listing';

export class Breakpoints {
  /**
   * @param channelOf the channel of the notebook that an editor is in
   * @param complain says one line about what did not work
   */
  constructor(
    private readonly channelOf: (view: EditorView) => Channel | null,
    private readonly complain: (says: string) => void
  ) {}

  /** Show what is known now. */
  refresh(view: EditorView): void {
    if (!hasGutter(view)) {
      return;
    }
    const channel = this.channelOf(view);
    const facts = this.factsOf(view);
    const wanted = facts && channel ? requestsFor(facts, wantedIn(view)) : [];
    show(view, facts);
    for (const request of wanted) {
      void this.ask(channel as Channel, request);
    }
  }

  /** Set or delete a breakpoint beside a line. */
  async toggle(view: EditorView, line: number): Promise<void> {
    const channel = this.channelOf(view);
    const facts = this.factsOf(view);
    if (!facts || !channel) {
      const wanted = want(view, line);
      say(view, `line ${line}: ${wanted ? 'breakpoint, set when this cell is run' : 'no breakpoint'}`);
      return;
    }
    const place = placeFor(facts.places, line);
    if (!place) {
      this.complain('there is no instruction on this line or below it');
      return;
    }
    const there = facts.marks.filter(mark => mark.line === line || mark.line === place.line);
    const requests = there.length
      ? there.map(mark => ({ action: 'delete', number: mark.number }))
      : [{ action: 'set', where: place.address }];
    for (const request of requests) {
      say(view, await this.ask(channel, request));
    }
  }

  /** The address of a line of the loaded program, for "run to cursor". */
  addressOf(view: EditorView, line: number): string | null {
    const facts = this.factsOf(view);
    return (facts && placeFor(facts.places, line)?.address) ?? null;
  }

  private factsOf(view: EditorView): Facts | null {
    const snapshot = this.channelOf(view)?.snapshot ?? null;
    return factsOf([...view.state.doc.iterLines()], snapshot);
  }

  private async ask(channel: Channel, fields: Record<string, unknown>): Promise<string> {
    const answer = await channel.ask('bp', fields);
    if (!answer.ok) {
      this.complain(answer.says);
    }
    return answer.says;
  }
}

/** For screen readers, which are not told of a gutter. */
function say(view: EditorView, text: string): void {
  view.dispatch({ effects: EditorView.announce.of(text) });
}
