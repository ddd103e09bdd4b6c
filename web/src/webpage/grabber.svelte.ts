/**
 * One tap at a time. A tap has one Grab-Id; as long as no answer has come, it is asked about
 * again with that id, so that an answer can be late but never lost, and no tap counts twice.
 */
import { grab, type GrabAnswer } from '../shared/api.ts';
import { ApiError } from '../shared/http.ts';
import { GRAB_RETRIES, isRetryable, type RetryTools, untilAnswered } from '../shared/retry.ts';
import { jittered } from '../shared/time.ts';
import { uuid } from '../shared/uuid.ts';
import { onWake } from '../shared/wake.ts';
import { read, thisTab, write } from './storage.ts';

/** Mean pause before an unanswered tap is asked about when the phone wakes, in milliseconds. */
const WAKE_MS = 1_000;

/** A tap without an answer yet; kept so that a reload of the page asks on. */
interface Pending {
  grabId: string;
  /** Attempts that may have reached the server. */
  attempts: number;
}

export type GrabView =
  | { kind: 'idle' }
  | { kind: 'asking'; again: boolean }
  | { kind: 'answered'; answer: GrabAnswer }
  | { kind: 'unanswered' }
  | { kind: 'refused'; error: ApiError };

export interface GrabHooks {
  onAnswer: (answer: GrabAnswer) => void;
  /** Asks with a token that is taken, as `Session.signedIn` does. */
  signedIn: (ask: () => Promise<GrabAnswer>) => Promise<GrabAnswer>;
}

/** Another user's turn has come: what is pending waits for its own user. */
class Stopped extends Error {}

export class Grabber {
  view = $state<GrabView>({ kind: 'idle' });
  #pending: Pending | null;
  #stopped = false;
  readonly #key: string;
  readonly #forget: () => void;

  constructor(
    readonly campaign: string,
    user: string,
    readonly hooks: GrabHooks,
    readonly tools: Pick<RetryTools, 'sleep' | 'random'>,
  ) {
    this.#key = `hongbao.pending.${campaign}.${user}`;
    this.#pending = read<Pending>(thisTab, this.#key);
    this.#forget = onWake(() => void this.#resume());
    if (this.#pending) void this.#ask();
  }

  /** Asks no more, and changes nothing any more: the cookie may be another user's from now on. */
  stop(): void {
    this.#stopped = true;
    this.#forget();
  }

  /** A new tap, or the last one again when it has no answer yet; ignored while one is asked. */
  tap(): void {
    if (this.view.kind === 'asking') return;
    this.#pending ??= { grabId: uuid(), attempts: 0 };
    void this.#ask();
  }

  /** What was missed says nothing any more once the rain has changed. */
  forgetMiss(): void {
    const { view } = this;
    if (view.kind === 'answered' && view.answer.outcome === 'missed') this.view = { kind: 'idle' };
  }

  async #resume(): Promise<void> {
    if (this.view.kind !== 'unanswered') return;
    await this.tools.sleep(jittered(WAKE_MS, this.tools.random));
    if (this.view.kind === 'unanswered') await this.#ask();
  }

  async #ask(): Promise<void> {
    const pending = this.#pending;
    if (!pending || this.#stopped) return;
    this.view = { kind: 'asking', again: pending.attempts > 0 };
    const attempt = () => this.hooks.signedIn(() => this.#attempt(pending));
    try {
      const answer = await untilAnswered(attempt, GRAB_RETRIES, {
        ...this.tools,
        onRetry: () => (this.view = { kind: 'asking', again: true }),
      });
      if (this.#stopped) return;
      this.#settle(pending, { kind: 'answered', answer });
      this.hooks.onAnswer(answer);
    } catch (error) {
      if (this.#stopped) return;
      const final = error instanceof ApiError && !isRetryable(error) && error.status !== 401;
      if (final) this.#settle(pending, { kind: 'refused', error });
      else this.view = { kind: 'unanswered' };
    }
  }

  /** Counted and kept before it is sent: what may have arrived must never be sent as new. */
  async #attempt(pending: Pending): Promise<GrabAnswer> {
    if (this.#stopped) throw new Stopped();
    pending.attempts += 1;
    write(thisTab, this.#key, pending);
    return grab(this.campaign, pending.grabId, pending.attempts);
  }

  #settle({ grabId }: Pending, view: GrabView): void {
    this.#pending = null;
    if (read<Pending>(thisTab, this.#key)?.grabId === grabId) write(thisTab, this.#key, null);
    this.view = view;
  }
}
