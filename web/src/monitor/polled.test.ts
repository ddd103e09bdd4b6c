import { afterEach, beforeEach, expect, it, vi } from 'vitest';

import { ApiError } from '../shared/http.ts';
import { browser, later } from '../shared/testkit.ts';
import { auth } from './auth.svelte.ts';
import { Polled } from './polled.svelte.ts';

beforeEach(() => {
  vi.useFakeTimers();
  browser();
  auth.view = { kind: 'signed_in', username: 'ann' };
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

it('shows nothing old while what is asked for is something else', async () => {
  const answers = ['all', later<string>(), later<string>()] as const;
  let asked = 0;
  const polled = new Polled(
    async () => {
      const answer = answers[asked++]!;
      return typeof answer === 'string' ? answer : answer.promise;
    },
    () => null,
  );
  const stop = polled.start();
  await vi.advanceTimersByTimeAsync(0);
  expect(polled.value).toBe('all');
  void polled.refresh();
  polled.reset();
  answers[1].keep('all again');
  await vi.advanceTimersByTimeAsync(0);
  expect(polled.value).toBeNull();
  answers[2].keep('found');
  await vi.advanceTimersByTimeAsync(0);
  expect(polled.value).toBe('found');
  stop();
});

it('keeps its value and does not ask while nobody is logged in', async () => {
  let asked = 0;
  const polled = new Polled(
    async () => {
      asked += 1;
      if (asked === 2) throw new ApiError(401, 'unauthenticated', '', '', null);
      return asked;
    },
    () => 1_000,
  );
  const stop = polled.start();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(auth.view).toEqual({ kind: 'lost' });
  // What the effect of a view does when the one who is logged in changes.
  stop();
  polled.start();
  await vi.advanceTimersByTimeAsync(10_000);
  expect([asked, polled.value]).toEqual([2, 1]);
  auth.view = { kind: 'signed_in', username: 'ann' };
  const stopAgain = polled.start();
  await vi.advanceTimersByTimeAsync(0);
  expect([polled.value, polled.error]).toEqual([3, null]);
  stopAgain();
});
