/**
 * The status bar's item: engine, mode and pc of the active notebook's VM; a click shows the panel.
 * Must not know: comms.
 */
import type { IStatusBar } from '@jupyterlab/statusbar';
import { ISignal, Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';

import { statusText } from './status';
import type { Bench } from './bench';

export class StatusItem extends Widget {
  private readonly button = document.createElement('button');
  private readonly turned = new Signal<this, void>(this);
  private wasActive = false;

  constructor(
    private readonly bench: Bench,
    showPanel: () => void
  ) {
    super();
    this.addClass('kvmdbg-lab-status');
    this.button.type = 'button';
    this.button.title = 'kvmdbg: the guest; click for its panel';
    this.button.addEventListener('click', showPanel);
    this.node.append(this.button);
    bench.links.currentChanged.connect(this.renew, this);
    bench.preferences.changed.connect(this.renew, this);
    this.renew();
  }

  get isActive(): boolean {
    return this.bench.preferences.statusBar && this.button.textContent !== '';
  }

  get turnedOnOrOff(): ISignal<this, void> {
    return this.turned;
  }

  private renew(): void {
    const text = statusText(this.bench.links.current?.channel ?? null);
    if (this.button.textContent !== text) {
      this.button.textContent = text;
    }
    if (this.wasActive !== this.isActive) {
      this.wasActive = this.isActive;
      this.turned.emit();
    }
  }
}

export function addStatusItem(bar: IStatusBar, item: StatusItem): void {
  bar.registerStatusItem('kvmdbg-lab:status', {
    item,
    align: 'left',
    rank: 90,
    isActive: () => item.isActive,
    activeStateChanged: item.turnedOnOrOff
  });
}
