import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { GrabAnswer } from '../shared/api.ts';
import { GRAB_RETRIES } from '../shared/retry.ts';
import { Grabber } from './grabber.svelte.ts';

const CAMPAIGN = '01935b1e-0000-7000-8000-000000000000';
const MISSED: GrabAnswer = { outcome: 'missed', reason: 'sold_out', next_wave_at: null };

/** What the server got, and what it is to answer; the network is cut where nothing is left. */
let asked: { id: string; attempt: string }[];
let answers: (GrabAnswer | number)[];
let kept: Map<string, string>;

beforeEach(() => {
  asked = [];
  answers = [];
  kept = new Map();
  vi.stubGlobal('sessionStorage', {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => kept.set(key, value),
    removeItem: (key: string) => kept.delete(key),
  });
  vi.stubGlobal('fetch', (_path: string, init: RequestInit) => {
    const headers = init.headers as Record<string, string>;
    asked.push({ id: headers['Grab-Id']!, attempt: headers['Grab-Attempt']! });
    const next = answers.shift();
    if (next === undefined) return Promise.reject(new TypeError('cut'));
    if (typeof next === 'number') return Promise.resolve(new Response('', { status: next }));
    return Promise.resolve(new Response(JSON.stringify(next)));
  });
});

afterEach(() => vi.unstubAllGlobals());

function grabber(user = 'bob') {
  const heard: GrabAnswer[] = [];
  const hooks = { onAnswer: (answer: GrabAnswer) => heard.push(answer), onUnauthenticated: vi.fn() };
  const tools = { sleep: () => Promise.resolve(), random: () => 0 };
  return { one: new Grabber(CAMPAIGN, user, hooks, tools), heard, hooks };
}

const settled = (one: Grabber) =>
  vi.waitFor(() => expect(one.view.kind).not.toBe('asking'), { timeout: 2_000 });

describe('a tap', () => {
  it('is one ask however often the button is hit meanwhile', async () => {
    answers = [MISSED];
    const { one, heard } = grabber();
    one.tap();
    one.tap();
    one.tap();
    await settled(one);
    expect(asked).toHaveLength(1);
    expect(heard).toEqual([MISSED]);
  });

  it('has an id of its own, and attempts that count up', async () => {
    answers = [503, 502, MISSED, MISSED];
    const { one } = grabber();
    one.tap();
    await settled(one);
    one.tap();
    await settled(one);
    expect(asked.map(({ attempt }) => attempt)).toEqual(['1', '2', '3', '1']);
    expect(new Set(asked.slice(0, 3).map(({ id }) => id)).size).toBe(1);
    expect(asked[3]!.id).not.toBe(asked[0]!.id);
  });

  it('without any answer is asked about again, never replaced by a new one', async () => {
    const { one } = grabber();
    one.tap();
    await settled(one);
    expect(one.view.kind).toBe('unanswered');
    expect(asked).toHaveLength(GRAB_RETRIES.attempts);
    answers = [MISSED];
    one.tap();
    await settled(one);
    expect(new Set(asked.map(({ id }) => id)).size).toBe(1);
    expect(asked.at(-1)!.attempt).toBe(String(GRAB_RETRIES.attempts + 1));
  });

  it('goes on after a reload, for the same user only', async () => {
    const { one } = grabber();
    one.tap();
    await settled(one);
    const before = asked.length;
    grabber('eve');
    expect(asked).toHaveLength(before);
    answers = [MISSED];
    const again = grabber();
    await settled(again.one);
    expect(asked.at(-1)).toEqual({ id: asked[0]!.id, attempt: String(before + 1) });
    expect(again.heard).toEqual([MISSED]);
    expect(kept.size).toBe(0);
  });

  it('stays pending when the token is no longer taken', async () => {
    answers = [401];
    const { one, hooks } = grabber();
    one.tap();
    await settled(one);
    expect(hooks.onUnauthenticated).toHaveBeenCalledOnce();
    expect(kept.size).toBe(1);
  });

  it('that the server refuses is over', async () => {
    answers = [404];
    const { one } = grabber();
    one.tap();
    await settled(one);
    expect(one.view.kind).toBe('refused');
    expect(kept.size).toBe(0);
  });
});
