/**
 * The side panel: the machine view of the active notebook's VM, or what is missing for one. Must not
 * know: what the machine view draws, or how messages travel.
 */
import { Widget } from '@lumino/widgets';

import type { Channel } from '../../kvmdbg/jupyter/widgets/esm/channel.js';
import { framed } from '../../kvmdbg/jupyter/widgets/esm/frame.js';
import { machineView } from '../../kvmdbg/jupyter/widgets/esm/machine.js';
import { Bench, PANEL_ID } from './bench';
import { chipIcon } from './icons';
import type { Link } from './link';

const NO_NOTEBOOK = 'Open a notebook: this panel shows the guest of the active one.';
const NO_KERNEL = 'This notebook has no kernel.';
const NOT_LOADED = 'This notebook has not loaded kvmdbg yet. Run a cell with';

export class MachinePanel extends Widget {
  private channel: Channel | null = null;
  private unmount: () => void = () => undefined;

  constructor(private readonly bench: Bench) {
    super();
    this.id = PANEL_ID;
    this.addClass('kvmdbg-lab-panel');
    this.title.icon = chipIcon;
    this.title.caption = 'kvmdbg: the guest';
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', 'kvmdbg');
    bench.links.currentChanged.connect(this.renew, this);
    bench.preferences.changed.connect(this.quieten, this);
  }

  protected onAfterAttach(): void {
    this.renew();
  }

  protected onAfterShow(): void {
    this.renew();
  }

  /** A view that nobody sees asks for nothing. */
  protected onAfterHide(): void {
    this.clear();
  }

  protected onBeforeDetach(): void {
    this.clear();
  }

  private clear(): void {
    this.unmount();
    this.unmount = () => undefined;
    this.channel = null;
    this.node.replaceChildren();
  }

  private renew(): void {
    if (!this.isVisible) {
      return;
    }
    const link = this.bench.links.current;
    const channel = link?.channel ?? null;
    if (!channel) {
      this.clear();
      this.node.append(hint(link));
    } else if (channel !== this.channel) {
      this.clear();
      this.channel = channel;
      this.unmount = framed(this.node, channel, machineView);
    }
    this.node.toggleAttribute('data-kvmdbg', !!link?.live);
    this.quieten();
  }

  /** How a long run goes is only read out if the user wants that. */
  private quieten(): void {
    const quiet = this.channel?.state === 'running' && !this.bench.preferences.announceProgress;
    const says = this.node.querySelector('.kvmdbg-says');
    says?.setAttribute('aria-live', quiet ? 'off' : 'polite');
  }
}

function hint(link: Link | null): HTMLElement {
  const text = document.createElement('p');
  text.className = 'kvmdbg-lab-hint';
  if (!link || link.presence === 'none') {
    text.append(link ? NO_KERNEL : NO_NOTEBOOK);
    return text;
  }
  const code = document.createElement('code');
  code.textContent = '%load_ext kvmdbg';
  text.append(NOT_LOADED, ' ', code, '.');
  return text;
}
