import { describe, expect, it } from 'vitest';

import { ApiError, NetworkError, retryAfterMs } from './http.ts';
import { GRAB_RETRIES, isRetryable, retryDelayMs, untilAnswered } from './retry.ts';

const unavailable = (retryAfter: number | null) =>
  new ApiError(503, 'unavailable', 'ask again', 'r', retryAfter);

describe('retryDelayMs', () => {
  const limits = { attempts: 9, baseMs: 100, capMs: 1_000, retryAfterCapMs: 5_000 };

  it('doubles up to the cap and is spread at random', () => {
    const least = [1, 2, 3, 4, 5, 6].map((n) => retryDelayMs(n, null, limits, () => 0));
    expect(least).toEqual([50, 100, 200, 400, 500, 500]);
    expect(retryDelayMs(3, null, limits, () => 1)).toBe(400);
  });

  it('is never shorter than Retry-After, within its cap', () => {
    expect(retryDelayMs(1, 2_000, limits, () => 0)).toBeGreaterThanOrEqual(2_000);
    expect(retryDelayMs(1, 3_600_000, limits, () => 1)).toBe(5_100);
  });
});

describe('isRetryable', () => {
  it('asks again only when the answer can still come', () => {
    expect(isRetryable(new NetworkError('cut'))).toBe(true);
    for (const status of [408, 425, 429, 500, 502, 503, 504]) {
      expect(isRetryable(new ApiError(status, '', '', '', null))).toBe(true);
    }
    for (const status of [400, 401, 403, 404, 409]) {
      expect(isRetryable(new ApiError(status, '', '', '', null))).toBe(false);
    }
    expect(isRetryable(new TypeError('a bug'))).toBe(false);
  });

  it('takes no word but our own server’s for the last one', () => {
    for (const status of [401, 403, 404, 511]) {
      expect(isRetryable(new ApiError(status, `http_${status}`, '', '', null))).toBe(true);
    }
  });
});

describe('untilAnswered', () => {
  function asking(errors: unknown[]) {
    const slept: number[] = [];
    let asked = 0;
    let told = 0;
    const ask = () => {
      const error = errors[asked];
      asked += 1;
      return error === undefined ? Promise.resolve('won') : Promise.reject(error);
    };
    const tools = {
      sleep: (ms: number) => {
        slept.push(ms);
        return Promise.resolve();
      },
      random: () => 0,
      onRetry: () => (told += 1),
    };
    return { run: () => untilAnswered(ask, GRAB_RETRIES, tools), slept, counts: () => [asked, told] };
  }

  it('answers at once when there is nothing to repeat', async () => {
    const one = asking([]);
    expect(await one.run()).toBe('won');
    expect(one.counts()).toEqual([1, 0]);
  });

  it('repeats lost and undecided asks, waiting as the server asks', async () => {
    const one = asking([new NetworkError('cut'), unavailable(2_000)]);
    expect(await one.run()).toBe('won');
    expect(one.counts()).toEqual([3, 2]);
    expect(one.slept[1]).toBeGreaterThanOrEqual(2_000);
  });

  it('gives up after its attempts with the last error', async () => {
    const last = unavailable(null);
    const errors = [...Array(GRAB_RETRIES.attempts - 1).fill(new NetworkError('cut')), last];
    const one = asking(errors);
    await expect(one.run()).rejects.toBe(last);
    expect(one.counts()[0]).toBe(GRAB_RETRIES.attempts);
  });

  it('does not repeat a refusal', async () => {
    const refusal = new ApiError(401, 'unauthenticated', '', '', null);
    const one = asking([refusal]);
    await expect(one.run()).rejects.toBe(refusal);
    expect(one.counts()).toEqual([1, 0]);
  });
});

describe('retryAfterMs', () => {
  it.each([
    ['3', 3_000],
    ['0', 0],
    [null, null],
    ['', null],
    ['-1', null],
    ['Wed, 21 Oct 2026 07:28:00 GMT', null],
  ])('%s is %s', (header, ms) => {
    expect(retryAfterMs(header)).toBe(ms);
  });
});
