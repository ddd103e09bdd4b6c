import { afterEach, beforeEach, expect, it, vi } from 'vitest';

import { type Asked, browser, type Said, server } from '../shared/testkit.ts';
import { OwnWins } from './wins.svelte.ts';

const none: Said = { wins: [] };
const won = (redeemed_at: string | null): Said => ({ wins: [{ packet: { id: '1-1' }, redeemed_at }] });

let page: ReturnType<typeof browser>;
let asked: Asked[];
let answers: (Said | Promise<Said>)[];
let ended: boolean;

beforeEach(() => {
  vi.useFakeTimers();
  page = browser();
  answers = [];
  ended = false;
  asked = server(() => answers.shift());
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const ownWins = () => new OwnWins('rain', (ask) => ask(), () => ended, () => 0.5);

it('is final only when it was asked for after the end', async () => {
  const own = ownWins();
  answers = [none, won(null)];
  await own.load();
  ended = true;
  expect(own.final).toBe(false);
  own.loadOnceEnded();
  await vi.advanceTimersByTimeAsync(5_000);
  expect(own.final).toBe(true);
  expect(own.list).toHaveLength(1);
});

it('that is asked for after the end is not asked for twice', async () => {
  ended = true;
  answers = [none];
  const own = ownWins();
  const loading = own.load();
  own.loadOnceEnded();
  await loading;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toHaveLength(1);
});

it('looks again while a win waits or an ask failed, and not otherwise', async () => {
  const own = ownWins();
  answers = [[503, 'unavailable'], won(null), won('now')];
  await own.load();
  expect(own.failed).toBe(true);
  await vi.advanceTimersByTimeAsync(120_000);
  expect(own.failed).toBe(false);
  expect(asked).toHaveLength(3);
});

it('takes the answer to the last ask, whichever comes last', async () => {
  const own = ownWins();
  let late!: (said: Said) => void;
  answers = [new Promise((resolve) => (late = resolve)), won('now')];
  const first = own.load();
  await own.load();
  late(none);
  await first;
  expect(own.list).toHaveLength(1);
});

it('asks no more once it is stopped', async () => {
  const own = ownWins();
  answers = [won(null)];
  const loading = own.load();
  own.stop();
  await loading;
  page.see();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toHaveLength(1);
  expect(own.list).toBeNull();
});
