/**
 * The words of the status bar. Must not know: the status bar.
 */
import type { Channel } from '../../kvmdbg/jupyter/widgets/esm/channel.js';

/** `unicorn · long mode, 64-bit code · loop (0x8003)`; empty where there is nothing to say. */
export function statusText(channel: Pick<Channel, 'snapshot' | 'state' | 'says'> | null): string {
  const snapshot = channel?.snapshot;
  if (!channel || !snapshot || channel.state === 'connecting') {
    return '';
  }
  if (channel.state === 'lost' || channel.state === 'closed') {
    return 'no VM';
  }
  if (channel.state === 'running') {
    return [snapshot.engine, 'running'].filter(Boolean).join(' · ');
  }
  if (snapshot.state === 'none') {
    return 'no VM';
  }
  return [snapshot.engine, snapshot.mode, placeText(snapshot.pc)].filter(Boolean).join(' · ');
}

/** An address, after its label if it has one. */
export function placeText(pc: { address: string; label: string } | null | undefined): string {
  if (!pc) {
    return '';
  }
  return pc.label && pc.label !== pc.address ? `${pc.label} (${pc.address})` : pc.address;
}
