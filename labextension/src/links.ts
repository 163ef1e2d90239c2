/**
 * The links of all notebooks, and which of them is the active notebook's. Must not know: kernels.
 */
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { ISignal, Signal } from '@lumino/signaling';

import { Link } from './link';

/** Set on a notebook whose VM can be driven; the keys' selectors ask for it. */
const MARK = 'kvmdbg';

export class Links {
  private readonly links = new Map<NotebookPanel, Link>();
  private readonly switching = new Signal<this, void>(this);
  private readonly changing = new Signal<this, Link>(this);

  constructor(private readonly tracker: INotebookTracker) {
    tracker.forEach(panel => this.add(panel));
    tracker.widgetAdded.connect((_, panel) => this.add(panel));
    tracker.currentChanged.connect(() => this.switching.emit());
    // A page that is closed says goodbye to its kernels, which stay.
    window.addEventListener('pagehide', ({ persisted }) => {
      if (!persisted) {
        this.links.forEach(link => link.dispose());
      }
    });
  }

  /** The active notebook's link, or null without a notebook. */
  get current(): Link | null {
    const panel = this.tracker.currentWidget;
    return (panel && this.links.get(panel)) ?? null;
  }

  /** Another notebook is the active one, or its link has changed. */
  get currentChanged(): ISignal<this, void> {
    return this.switching;
  }

  /** Some notebook's link has changed. */
  get linkChanged(): ISignal<this, Link> {
    return this.changing;
  }

  /** The link of the notebook that an element is in. */
  of(element: Node): Link | null {
    for (const [panel, link] of this.links) {
      if (panel.node.contains(element)) {
        return link;
      }
    }
    return null;
  }

  private add(panel: NotebookPanel): void {
    const link = new Link(panel.sessionContext);
    this.links.set(panel, link);
    link.changed.connect(() => this.announce(panel, link));
    panel.disposed.connect(() => {
      this.links.delete(panel);
      link.dispose();
      this.switching.emit();
    });
    this.announce(panel, link);
  }

  private announce(panel: NotebookPanel, link: Link): void {
    if (link.live) {
      if (panel.node.dataset[MARK] !== link.live.state) panel.node.dataset[MARK] = link.live.state;
    } else {
      delete panel.node.dataset[MARK];
    }
    this.changing.emit(link);
    if (link === this.current) {
      this.switching.emit();
    }
  }
}
