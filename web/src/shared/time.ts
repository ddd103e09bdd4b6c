/** The server's time on this device, and how the time that is left is written. */

/** How many of the latest estimates count. */
const ESTIMATES = 8;

/**
 * Follows the server's clock by its answers. An answer can only arrive late, never early, so
 * of several estimates the one furthest ahead is the closest. Only the latest few count, so
 * that a device that slept, or whose clock drifts, is put right.
 */
export class ServerClock {
  #offsets: number[] = [];
  /** How far the server's time is ahead of this device's time of day, as last heard. */
  #ahead = 0;

  /** `local` tells this device's time in milliseconds; it need not be the time of day. */
  constructor(readonly local: () => number) {}

  /** Takes in an answer that carries the server's time. */
  hear(serverTime: string): void {
    const at = Date.parse(serverTime);
    if (Number.isNaN(at)) return;
    this.#offsets.push(at - this.local());
    if (this.#offsets.length > ESTIMATES) this.#offsets.shift();
    this.#ahead = this.now() - Date.now();
  }

  /** Whether the time is the server's, and not only this device's set by it. */
  get heard(): boolean {
    return this.#offsets.length > 0;
  }

  /** Forgets what was heard: the device slept, and its clock may have stood still. */
  forget(): void {
    this.#offsets = [];
  }

  /**
   * The server's time, in milliseconds since the epoch. While it is not heard, this device's
   * time of day, put right by how far off it was when the server was heard last.
   */
  now(): number {
    if (!this.heard) return Date.now() + this.#ahead;
    return this.local() + Math.max(...this.#offsets);
  }
}

/** What is left, rounded up to whole seconds so that 0 is shown only when it is over. */
export interface TimeLeft {
  days: number;
  hours: number;
  minutes: number;
  seconds: number;
}

export function timeLeft(ms: number): TimeLeft {
  const total = Math.max(0, Math.ceil(ms / 1000));
  return {
    days: Math.floor(total / 86_400),
    hours: Math.floor(total / 3_600) % 24,
    minutes: Math.floor(total / 60) % 60,
    seconds: total % 60,
  };
}

/** `3:07`, `1:02:03`; the days are left to the caller, who knows the language. */
export function clockFace({ days, hours, minutes, seconds }: TimeLeft): string {
  const two = (n: number) => String(n).padStart(2, '0');
  if (days > 0 || hours > 0) return `${hours}:${two(minutes)}:${two(seconds)}`;
  return `${minutes}:${two(seconds)}`;
}

/** `ms` spread at random between half and one and a half of itself. */
export function jittered(ms: number, random: () => number): number {
  return ms * (0.5 + random());
}

/** Time of day, with the date only when it is not today's. */
export function shortTime(at: string | null | undefined, locale: string, nowMs: number): string {
  if (!at) return '';
  const date = new Date(at);
  if (date.toDateString() !== new Date(nowMs).toDateString()) return dateTime(at, locale);
  return date.toLocaleTimeString(locale, { hour12: false });
}

/** Date and time of day as people of `locale` write it; empty for none. */
export function dateTime(at: string | null | undefined, locale: string): string {
  if (!at) return '';
  return new Date(at).toLocaleString(locale, {
    year: 'numeric',
    month: 'short',
    day: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hour12: false,
  });
}
