/**
 * A saved view: live while its widget's model is in the kernel, else the still twin of the same output.
 * JupyterLab's widgets would say "model not found" instead. Must not know: what views show.
 */
import type { NotebookPanel } from '@jupyterlab/notebook';
import { Panel, Widget } from '@lumino/widgets';

import { STOOD } from '../../kvmdbg/jupyter/widgets/esm/frame.js';

export const VIEW = 'application/vnd.kvmdbg.view+json';
export const WIDGET = 'application/vnd.jupyter.widget-view+json';
const COMMS = 'jupyter.widget';
/** Before the widgets' own renderer, which has -10. */
const RANK = -20;

type Rendermime = Pick<
  NotebookPanel['content']['rendermime'],
  'preferredMimeType' | 'createRenderer' | 'createModel'
>;
type Renderer = ReturnType<Rendermime['createRenderer']>;
type Model = Parameters<Renderer['renderModel']>[0];
type Context = Pick<NotebookPanel['sessionContext'], 'session' | 'kernelChanged'>;

/** Let this notebook's outputs choose between a view and its still. */
export function keepStills({ content: { rendermime }, sessionContext }: NotebookPanel): void {
  const createRenderer = () => new LiveOrStill(rendermime, sessionContext);
  rendermime.addFactory({ safe: true, mimeTypes: [VIEW], createRenderer }, RANK);
}

/**
 * The renderer. It is safe: an output that is not trusted gets what the notebook's own renderers make
 * of it, sanitised, and no widget. A view that lives stays when its kernel restarts: it says itself
 * that it is lost.
 */
export class LiveOrStill extends Panel {
  private model: Model | null = null;
  private shown: 'nothing' | 'live' | 'still' = 'nothing';
  private readonly notice = new Widget();
  private turn = 0;

  constructor(
    private readonly rendermime: Rendermime,
    private readonly context: Context
  ) {
    super();
    this.notice.addClass('kvmdbg-state');
    context.kernelChanged.connect(this.change, this);
  }

  async renderModel(model: Model): Promise<void> {
    this.model = model;
    this.shown = 'nothing';
    await this.choose();
  }

  dispose(): void {
    this.turn++;
    this.notice.dispose();
    super.dispose();
  }

  /** A restart keeps the kernel. */
  private change(_: unknown, { oldValue, newValue }: { oldValue?: unknown; newValue?: unknown }): void {
    if (oldValue !== newValue || !newValue) {
      void this.choose();
    }
  }

  /** The kernel is asked only about models that this page does not have: a busy one answers late. */
  private async choose(): Promise<void> {
    const turn = ++this.turn;
    const id = this.modelId;
    const kernel = this.context.session?.kernel;
    if (id && kernel?.hasComm(id)) {
      return this.live();
    }
    await this.still();
    const found = id && kernel ? await isIn(kernel, id) : false;
    if (turn !== this.turn) {
      return;
    }
    if (found) {
      return this.live();
    }
    this.notice.node.textContent = STOOD;
  }

  private get modelId(): string {
    const view = this.model?.trusted ? this.model.data[WIDGET] : null;
    return String((view as { model_id?: unknown } | null | undefined)?.model_id ?? '');
  }

  private async live(): Promise<void> {
    if (this.shown !== 'live' && this.model) {
      this.shown = 'live';
      this.clear();
      // A copy: the widgets' renderer takes the model's name out of what it was given.
      await this.add(WIDGET, { [WIDGET]: { ...(this.model.data[WIDGET] as object) } });
    }
  }

  private async still(): Promise<void> {
    const { model } = this;
    if (this.shown !== 'still' && model) {
      this.shown = 'still';
      this.clear();
      this.notice.node.textContent = '';
      this.addClass('kvmdbg-still');
      this.addWidget(this.notice);
      const { [VIEW]: _view, [WIDGET]: _widget, ...twin } = model.data;
      const mime = this.rendermime.preferredMimeType(twin, model.trusted ? 'any' : 'ensure');
      await (mime && this.add(mime, twin));
    }
  }

  private async add(mime: string, data: Model['data']): Promise<void> {
    const { metadata, trusted } = this.model!;
    const renderer = this.rendermime.createRenderer(mime);
    this.addWidget(renderer);
    await renderer.renderModel(this.rendermime.createModel({ data, metadata, trusted }));
  }

  private clear(): void {
    this.removeClass('kvmdbg-still');
    this.notice.parent = null;
    [...this.widgets].forEach(widget => widget.dispose());
  }
}

/** Whether a kernel has this widget's model; not if it does not answer any more. */
async function isIn(
  kernel: { requestCommInfo: (wish: { target_name: string }) => Promise<any> },
  id: string
): Promise<boolean> {
  const answer = await kernel.requestCommInfo({ target_name: COMMS }).catch(() => null);
  return id in (answer?.content.comms ?? {});
}
