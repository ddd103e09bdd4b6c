/**
 * Asking again until there is an answer, within bounds. Only for asks that are safe to repeat:
 * the caller sends the same Grab-Id or Idempotency-Key with each attempt.
 */
import { ApiError, NetworkError } from './http.ts';

export interface RetryLimits {
  /** How often to ask in one go. */
  attempts: number;
  /** The first pause in milliseconds; it doubles with every attempt. */
  baseMs: number;
  /** The longest pause in milliseconds, unless the server asks for a longer one. */
  capMs: number;
  /** The longest pause that the server can ask for, in milliseconds. */
  retryAfterCapMs: number;
}

export const GRAB_RETRIES: RetryLimits = {
  attempts: 7,
  baseMs: 300,
  capMs: 5_000,
  retryAfterCapMs: 15_000,
};

/** Whether the ask may have been, or can later be, carried out: asking again makes sense. */
export function isRetryable(error: unknown): boolean {
  if (error instanceof NetworkError) return true;
  if (!(error instanceof ApiError)) return false;
  return !error.own || [408, 425, 429, 500, 502, 503, 504].includes(error.status);
}

/**
 * How long to wait after the `failures`-th failure in a row, from 1, in milliseconds: at least
 * what the server asked for, and spread at random so that a crowd does not come back at once.
 */
export function retryDelayMs(
  failures: number,
  retryAfterMs: number | null,
  limits: RetryLimits,
  random: () => number,
): number {
  const step = Math.min(limits.capMs, limits.baseMs * 2 ** (failures - 1));
  const asked = Math.min(retryAfterMs ?? 0, limits.retryAfterCapMs);
  return asked + step * (0.5 + 0.5 * random());
}

export interface RetryTools {
  sleep: (ms: number) => Promise<void>;
  random: () => number;
  /** Told before every repetition, so that a page can say that it is still asking. */
  onRetry?: () => void;
}

/**
 * Calls `ask` until it answers, fails for good, or `limits.attempts` are used up; the last
 * error is thrown.
 */
export async function untilAnswered<T>(
  ask: () => Promise<T>,
  limits: RetryLimits,
  tools: RetryTools,
): Promise<T> {
  for (let failures = 1; ; failures += 1) {
    try {
      return await ask();
    } catch (error) {
      if (!isRetryable(error) || failures >= limits.attempts) throw error;
      const asked = error instanceof ApiError ? error.retryAfterMs : null;
      tools.onRetry?.();
      await tools.sleep(retryDelayMs(failures, asked, limits, tools.random));
    }
  }
}

/** Waits `ms` milliseconds; cut short when the phone comes back online. */
export function sleepUntilOnline(ms: number): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener('online', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    addEventListener('online', done);
  });
}
