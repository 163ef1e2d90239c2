/**
 * The line of a channel over two comms of a notebook's kernel (docs/live-views.md): `kvmdbg`, on
 * which the kernel speaks, and `kvmdbg.control`, on which only the page does, so that ipykernel
 * answers it while a cell runs. Must not know: what is said.
 */
import type { Kernel, KernelMessage } from '@jupyterlab/services';

import type { Line } from '../../kvmdbg/jupyter/widgets/esm/channel.js';

export const PUSH = 'kvmdbg';
export const CONTROL = 'kvmdbg.control';
const PATIENCE = 1000; // ms until a kernel without subshells is spoken to

type Heard = Parameters<Line['hear']>[0];

/** Two comms that are being opened. `close` may be called twice; the kernel may close first. */
export class CommLine implements Line {
  private readonly push: Kernel.IComm;
  private readonly control: Kernel.IComm;
  private readonly opened: Promise<void>;
  private readonly speaking = new Set<Kernel.IComm>();
  private heard: Heard = () => undefined;
  private lost: () => void = () => undefined;
  private over = false;

  constructor(private readonly kernel: Kernel.IKernelConnection) {
    this.push = kernel.createComm(PUSH);
    this.control = kernel.createComm(CONTROL);
    this.push.onMsg = message => this.pass(message);
    for (const comm of [this.push, this.control]) {
      comm.onClose = () => this.closed(comm);
    }
    this.opened = this.open();
  }

  hear(heard: Heard): void {
    this.heard = heard;
  }

  onLost(lost: () => void): void {
    this.lost = lost;
  }

  /** Sent when both comms are open, in the order of the calls. */
  send(message: Record<string, unknown>): void {
    const data = message as KernelMessage.ICommMsgMsg['content']['data'];
    void this.opened.then(() => {
      if (this.speaking.has(this.control) && this.usable(this.control)) {
        this.control.send(data);
      }
    });
  }

  /** What was said before still goes out. */
  close(): void {
    this.end();
    void this.opened.then(() => {
      for (const comm of [this.push, this.control]) {
        if (this.speaking.delete(comm) && this.usable(comm)) {
          comm.onClose = () => undefined;
          comm.close();
        }
      }
    });
  }

  /** The kernel is gone: there is nobody to tell. */
  abandon(): void {
    this.end();
    this.push.dispose();
    this.control.dispose();
  }

  /** A kernel that does not know us closes both comms, one after the other: each is waited for. */
  private closed(comm: Kernel.IComm): void {
    this.speaking.delete(comm);
    this.end();
  }

  private end(): void {
    if (!this.over) {
      this.over = true;
      this.lost();
    }
  }

  private async open(): Promise<void> {
    for (const comm of [this.push, this.control]) {
      await Promise.race([started(comm), later(PATIENCE)]);
      if (!this.over && this.usable(comm)) {
        this.speaking.add(comm);
        comm.open({});
      } else {
        comm.dispose();
      }
    }
  }

  private usable(comm: Kernel.IComm): boolean {
    return !comm.isDisposed && !this.kernel.isDisposed;
  }

  private pass(message: KernelMessage.ICommMsgMsg): void {
    if (this.over) {
      return;
    }
    const buffers = (message.buffers ?? []).map(buffer =>
      buffer instanceof ArrayBuffer
        ? new DataView(buffer)
        : new DataView(buffer.buffer as ArrayBuffer, buffer.byteOffset, buffer.byteLength)
    );
    this.heard(message.content.data as Record<string, unknown>, buffers);
  }
}

/** Lab's comms have this promise, but their type does not name it; older ones have none. */
function started(comm: Kernel.IComm): Promise<void> {
  const named = comm as Kernel.IComm & { subshellStarted?: Promise<void> };
  return named.subshellStarted ?? Promise.resolve();
}

function later(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms));
}
