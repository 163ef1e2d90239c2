/** A kernel connection without a kernel: what a page sends, and what a kernel would answer. */
import type { Kernel } from '@jupyterlab/services';
import { Signal } from '@lumino/signaling';

import type { Session } from '../src/link';

export class FakeComm {
  isDisposed = false;
  onMsg: (message: any) => void = () => undefined;
  onClose: (message: any) => void = () => undefined;
  sent: any[] = [];
  did: string[] = [];
  subshellStarted = Promise.resolve();

  constructor(
    readonly target: string,
    private readonly opened: string[]
  ) {}

  open(): void {
    this.did.push('open');
    this.opened.push(this.target);
  }
  send(data: any): void {
    this.sent.push(data);
  }
  close(): void {
    this.did.push('close');
    this.dispose();
  }
  dispose(): void {
    this.isDisposed = true;
  }
  /** What the kernel sends on it. */
  hear(data: any, buffers: ArrayBuffer[] = []): void {
    this.onMsg({ content: { data }, buffers });
  }
}

export class FakeKernel {
  isDisposed = false;
  comms: FakeComm[] = [];
  /** The targets in the order in which they were opened. */
  opened: string[] = [];
  iopubMessage = new Signal<this, any>(this);
  statusChanged = new Signal<this, string>(this);
  connectionStatusChanged = new Signal<this, string>(this);
  info: Promise<any>;

  constructor(language = 'python') {
    this.info = Promise.resolve({ language_info: { name: language } });
  }

  createComm(target: string): FakeComm {
    const comm = new FakeComm(target, this.opened);
    this.comms.push(comm);
    return comm;
  }

  get connection(): Kernel.IKernelConnection {
    return this as unknown as Kernel.IKernelConnection;
  }

  /** The comms that were opened last: push and control. */
  get pair(): FakeComm[] {
    return this.comms.slice(-2);
  }

  get pairs(): number {
    return this.comms.length / 2;
  }

  /** As a kernel does that has not loaded kvmdbg. */
  refuse(): void {
    this.pair.forEach(comm => comm.onClose({}));
  }

  /** A cell is executed, from any page. */
  async execute(code: string, id = 'cell'): Promise<void> {
    this.iopub('execute_input', { code }, id);
    this.iopub('status', { execution_state: 'idle' }, id);
    await settled();
  }

  iopub(msg_type: string, content: any, msg_id = 'cell'): void {
    this.iopubMessage.emit({ header: { msg_type }, parent_header: { msg_id }, content });
  }

  snapshot(fields: Record<string, any> = {}): void {
    const snapshot = { v: 1, op: 'snapshot', state: 'stopped', says: 'stopped', ...fields };
    this.pair[0].hear(snapshot);
  }
}

export class FakeSession implements Session {
  session: Session['session'];
  kernelChanged: Signal<Session, unknown> = new Signal(this as Session);

  constructor(kernel: FakeKernel | null) {
    this.session = { kernel: kernel?.connection ?? null };
  }

  change(kernel: FakeKernel | null): void {
    this.session = { kernel: kernel?.connection ?? null };
    this.kernelChanged.emit(undefined);
  }
}

/** All promises that are already resolved have been acted on. */
export function settled(): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, 0));
}
