/**
 * One notebook's line to its VM: opens a channel where the kernel has kvmdbg, loses it with the
 * kernel, and makes another. Must not know: what the channel is used for, or any other notebook.
 *
 * A kernel has kvmdbg once a cell has loaded it, and says so by nothing but taking comms, so it is
 * tried when a kernel comes or restarts and after each cell that speaks of kvmdbg. It is not tried
 * after every cell: a kernel writes a line into its log for each comm that it does not know.
 */
import type { Kernel, KernelMessage } from '@jupyterlab/services';
import type { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { Channel } from '../../kvmdbg/jupyter/widgets/esm/channel.js';
import { CommLine } from './comms';

const SPEAKS_OF_KVMDBG = /\bkvmdbg\b|^\s*%%?(?:vm|step|bp|asm)\b/m;

/** What a link needs of a notebook's session. */
export interface Session {
  readonly session: { readonly kernel: Kernel.IKernelConnection | null } | null;
  readonly kernelChanged: ISignal<Session, unknown>;
}

/** `none`: no kernel; `absent`: a kernel that has not loaded kvmdbg; `there`: a channel. */
export type Presence = 'none' | 'absent' | 'there';

export class Link implements IDisposable {
  private kernel: Kernel.IKernelConnection | null = null;
  private current: Channel | null = null;
  private line: CommLine | null = null;
  /** The channel on that line, which may not have been heard yet. */
  private candidate: Channel | null = null;
  /** The cell after which kvmdbg may be there. */
  private awaited = '';
  private restarted = false;
  private disposed = false;
  private readonly changing = new Signal<this, void>(this);

  constructor(private readonly session: Session) {
    session.kernelChanged.connect(this.follow, this);
    this.follow();
  }

  /** Another channel, or another presence. */
  get changed(): ISignal<this, void> {
    return this.changing;
  }

  /** The channel that was heard last; it stays when it is lost, until there is another. */
  get channel(): Channel | null {
    return this.current;
  }

  /** The channel, if something can be asked on it. */
  get live(): Channel | null {
    const state = this.current?.state;
    return state === 'live' || state === 'running' ? this.current : null;
  }

  get presence(): Presence {
    if (!this.kernel) {
      return 'none';
    }
    return this.current && this.current.state !== 'lost' ? 'there' : 'absent';
  }

  get isDisposed(): boolean {
    return this.disposed;
  }

  dispose(): void {
    if (!this.disposed) {
      this.disposed = true;
      this.leave();
      this.session.kernelChanged.disconnect(this.follow, this);
      Signal.clearData(this);
    }
  }

  private follow(): void {
    const kernel = this.session.session?.kernel ?? null;
    if (kernel === this.kernel) {
      return;
    }
    this.leave();
    this.kernel = kernel;
    this.current = null;
    if (kernel) {
      kernel.iopubMessage.connect(this.listen, this);
      kernel.statusChanged.connect(this.watch, this);
      kernel.connectionStatusChanged.connect(this.refresh, this);
      void this.introduce(kernel);
    }
    this.changing.emit();
  }

  /** The first try on a kernel: a page that was loaded again finds its VM. */
  private async introduce(kernel: Kernel.IKernelConnection): Promise<void> {
    const info = await kernel.info.catch(() => null);
    if (info?.language_info.name === 'python' && kernel === this.kernel) {
      this.attempt();
    }
  }

  private leave(): void {
    this.kernel?.iopubMessage.disconnect(this.listen, this);
    this.kernel?.statusChanged.disconnect(this.watch, this);
    this.kernel?.connectionStatusChanged.disconnect(this.refresh, this);
    this.kernel = null;
    void this.candidate?.ask('bye');
    this.line?.close();
    this.line = null;
  }

  private listen(_: unknown, message: KernelMessage.IIOPubMessage): void {
    const parent = message.parent_header as { msg_id?: string };
    const kind = message.header.msg_type;
    if (kind === 'execute_input') {
      const { code } = message.content as KernelMessage.IExecuteInputMsg['content'];
      this.awaited = SPEAKS_OF_KVMDBG.test(code) ? (parent.msg_id ?? '') : this.awaited;
    } else if (kind === 'status' && this.awaited && parent.msg_id === this.awaited) {
      const { execution_state } = message.content as KernelMessage.IStatusMsg['content'];
      if (execution_state === 'idle') {
        this.awaited = '';
        this.attempt();
      }
    }
  }

  private watch(_: unknown, status: Kernel.Status): void {
    if (status === 'restarting' || status === 'autorestarting' || status === 'dead') {
      this.restarted = status !== 'dead';
      this.awaited = '';
      this.line?.abandon();
      this.line = null;
    } else if (status === 'idle' && this.restarted) {
      this.restarted = false;
      this.attempt();
    }
  }

  /** A page that was cut off has missed what was pushed meanwhile. */
  private refresh(_: unknown, status: Kernel.ConnectionStatus): void {
    if (status === 'connected') {
      void this.live?.greet();
    }
  }

  private attempt(): void {
    if (!this.kernel || this.line) {
      return;
    }
    const line = (this.line = new CommLine(this.kernel));
    const channel = (this.candidate = new Channel(line));
    channel.on('state', () => this.settle(line, channel));
    channel.want([]);
  }

  /** The first word on a line makes its channel ours; the end of a line makes room for the next. */
  private settle(line: CommLine, channel: Channel): void {
    if (channel.state === 'lost') {
      this.line = this.line === line ? null : this.line;
    } else if (channel.state !== 'connecting' && this.line === line) {
      this.current = channel;
    }
    if (this.current === channel) {
      this.changing.emit();
    }
  }
}
