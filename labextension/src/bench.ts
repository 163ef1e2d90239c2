/**
 * What the plugins share: the notebooks' links and the settings. Must not know: the plugins.
 */
import { Notification } from '@jupyterlab/apputils';
import { Token } from '@lumino/coreutils';

import type { Links } from './links';
import type { Preferences } from './preferences';

export interface Bench {
  readonly links: Links;
  readonly preferences: Preferences;
}

export const IBench = new Token<Bench>(
  'kvmdbg-lab:IBench',
  "The notebooks' lines to their VMs, and kvmdbg's settings."
);

export const PANEL_ID = 'kvmdbg-lab-panel';
const SHORT = 5000; // ms for which a complaint is shown

let last = '';

/** One line about what did not work. A new one takes the place of the one before. */
export function complain(says: string): void {
  if (last) {
    Notification.dismiss(last);
  }
  last = Notification.warning(says, { autoClose: SHORT });
}
