/**
 * The user's settings (schema/plugin.json), or their defaults where there is no registry. Must not
 * know: what they change.
 */
import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ISignal, Signal } from '@lumino/signaling';

const DEFAULTS = {
  showPanelOnStart: false,
  gutter: true,
  statusBar: true,
  announceProgress: true
};

type Name = keyof typeof DEFAULTS;

export class Preferences {
  private values = { ...DEFAULTS };
  private followed = false;
  private readonly changing = new Signal<this, void>(this);

  get changed(): ISignal<this, void> {
    return this.changing;
  }

  /** Whether the user's settings have come. */
  get read(): boolean {
    return this.followed;
  }

  get showPanelOnStart(): boolean {
    return this.values.showPanelOnStart;
  }

  get gutter(): boolean {
    return this.values.gutter;
  }

  get statusBar(): boolean {
    return this.values.statusBar;
  }

  /** Whether a screen reader is told how a long run goes. */
  get announceProgress(): boolean {
    return this.values.announceProgress;
  }

  /** Take the settings over, now and whenever they change. */
  follow(settings: ISettingRegistry.ISettings): void {
    const read = () => {
      for (const name of Object.keys(DEFAULTS) as Name[]) {
        const value = settings.get(name).composite;
        this.values[name] = typeof value === 'boolean' ? value : DEFAULTS[name];
      }
      this.followed = true;
      this.changing.emit();
    };
    settings.changed.connect(read);
    read();
  }
}
