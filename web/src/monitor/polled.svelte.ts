/**
 * A value of the server's that is asked for again and again while the page is seen, one ask
 * at a time. A failed ask keeps the last value: stale is better than gone, if it is said so.
 */
import { untrack } from 'svelte';

import { auth } from './auth.svelte.ts';

export class Polled<T> {
  value = $state.raw<T | null>(null);
  /** Why the last ask failed; null when it did not. */
  error = $state.raw<unknown>(null);
  #timer: ReturnType<typeof setTimeout> | undefined;
  #round = 0;
  #stopped = false;

  /** `everyMs` is the pause between an answer and the next ask; null asks once. */
  constructor(
    readonly load: () => Promise<T>,
    readonly everyMs: () => number | null,
  ) {}

  /**
   * Starts asking; what is returned stops it. An effect that calls this does so again when
   * somebody has logged in: until then every ask would only be refused.
   */
  start(): () => void {
    if (auth.view.kind !== 'signed_in') return () => undefined;
    this.#stopped = false;
    document.addEventListener('visibilitychange', this.#seen);
    // What `load` reads must not make the effect that starts this run again.
    untrack(() => void this.refresh());
    return () => {
      this.#stopped = true;
      clearTimeout(this.#timer);
      document.removeEventListener('visibilitychange', this.#seen);
    };
  }

  /** What is asked for is something else now: the old value must not be taken for it. */
  reset(): void {
    this.value = null;
    this.error = null;
    void this.refresh();
  }

  /** Asks now. An older ask that answers later changes nothing. */
  async refresh(): Promise<void> {
    clearTimeout(this.#timer);
    const round = ++this.#round;
    try {
      const value = await this.load();
      if (round !== this.#round || this.#stopped) return;
      this.value = value;
      this.error = null;
    } catch (error) {
      if (round !== this.#round || this.#stopped) return;
      this.error = error;
      auth.notice(error);
    }
    const pause = this.everyMs();
    if (pause !== null) this.#timer = setTimeout(this.#seen, pause);
  }

  #seen = (): void => {
    if (document.visibilityState === 'visible' && this.everyMs() !== null) void this.refresh();
  };
}
