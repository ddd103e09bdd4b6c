/** A participant's own wins in one campaign; asked for again while that can bring news. */
import { ownWins, type Win } from '../shared/api.ts';
import { jittered } from '../shared/time.ts';
import { onWake } from '../shared/wake.ts';

/** Mean pause between looks whether a win was redeemed, in milliseconds. */
const REDEEMED_MS = 15_000;
/** Mean pause before the look after the end, in milliseconds: everybody hears of it at once. */
const ENDED_MS = 2_000;

export class OwnWins {
  /** Null while they are loaded. */
  list = $state<Win[] | null>(null);
  /** There is nothing to show, and the last ask failed. */
  failed = $state(false);
  /** The list was asked for after the end: what is not in it was not won. */
  final = $state(false);
  #round = 0;
  #askedEnded = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #forget = onWake(() => void this.load());

  constructor(
    readonly campaign: string,
    /** Asks with a token that is taken, as `Session.signedIn` does. */
    readonly signedIn: <T>(ask: () => Promise<T>) => Promise<T>,
    readonly ended: () => boolean,
    readonly random: () => number = Math.random,
  ) {}

  /** Asks now. An older ask that answers later changes nothing. */
  async load(): Promise<void> {
    clearTimeout(this.#timer);
    const round = ++this.#round;
    const ended = (this.#askedEnded = this.ended());
    try {
      const { wins } = await this.signedIn(() => ownWins(this.campaign));
      if (round !== this.#round) return;
      this.list = wins;
      this.final = ended;
      this.failed = false;
      if (wins.every(({ redeemed_at }) => redeemed_at !== null)) return;
    } catch {
      if (round !== this.#round) return;
      this.failed = this.list === null;
    }
    this.#loadAfter(REDEEMED_MS);
  }

  /** The campaign has ended: a last win may have been answered since the list was asked for. */
  loadOnceEnded(): void {
    if (!this.#askedEnded) this.#loadAfter(ENDED_MS);
  }

  stop(): void {
    this.#round += 1;
    clearTimeout(this.#timer);
    this.#forget();
  }

  #loadAfter(meanMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (document.visibilityState === 'visible') void this.load();
    }, jittered(meanMs, this.random));
  }
}
