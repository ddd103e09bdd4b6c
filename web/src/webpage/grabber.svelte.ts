/**
 * One tap at a time. A tap has one Grab-Id; as long as no answer has come, it is asked about
 * again with that id, so that an answer can be late but never lost, and no tap counts twice.
 */
import { grab, type GrabAnswer } from '../shared/api.ts';
import { ApiError } from '../shared/http.ts';
import { GRAB_RETRIES, type RetryTools, untilAnswered } from '../shared/retry.ts';
import { uuid } from '../shared/uuid.ts';
import { read, thisTab, write } from './storage.ts';

const PENDING = 'hongbao.pending';

/** A tap without an answer yet; kept so that a reload of the page asks on. */
interface Pending {
  campaign: string;
  user: string;
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
  /** The token is no longer taken; the tap stays pending. */
  onUnauthenticated: () => void;
}

export class Grabber {
  view = $state<GrabView>({ kind: 'idle' });
  #pending: Pending | null;

  constructor(
    readonly campaign: string,
    readonly user: string,
    readonly hooks: GrabHooks,
    readonly tools: Pick<RetryTools, 'sleep' | 'random'>,
  ) {
    const kept = read<Pending>(thisTab, PENDING);
    const own = kept !== null && kept.campaign === campaign && kept.user === user;
    this.#pending = own ? kept : null;
    if (own) void this.#ask();
  }

  /** A new tap, or the last one again when it has no answer yet; ignored while one is asked. */
  tap(): void {
    if (this.view.kind === 'asking') return;
    this.#pending ??= { campaign: this.campaign, user: this.user, grabId: uuid(), attempts: 0 };
    void this.#ask();
  }

  async #ask(): Promise<void> {
    const pending = this.#pending;
    if (!pending) return;
    this.view = { kind: 'asking', again: pending.attempts > 0 };
    try {
      const answer = await untilAnswered(() => this.#attempt(pending), GRAB_RETRIES, {
        ...this.tools,
        onRetry: () => (this.view = { kind: 'asking', again: true }),
      });
      this.#settle({ kind: 'answered', answer });
      this.hooks.onAnswer(answer);
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) {
        this.view = { kind: 'unanswered' };
        this.hooks.onUnauthenticated();
      } else if (error instanceof ApiError && error.status < 500 && error.status !== 429) {
        this.#settle({ kind: 'refused', error });
      } else {
        this.view = { kind: 'unanswered' };
      }
    }
  }

  /** Counted and kept before it is sent: what may have arrived must never be sent as new. */
  #attempt(pending: Pending): Promise<GrabAnswer> {
    pending.attempts += 1;
    write(thisTab, PENDING, pending);
    return grab(pending.campaign, pending.grabId, pending.attempts);
  }

  #settle(view: GrabView): void {
    this.#pending = null;
    write(thisTab, PENDING, null);
    this.view = view;
  }
}
