import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { GrabAnswer } from '../shared/api.ts';
import { GRAB_RETRIES } from '../shared/retry.ts';
import { Grabber, type GrabHooks } from './grabber.svelte.ts';
import { type Asked, browser, later, type Said, server } from '../shared/testkit.ts';

const CAMPAIGN = '01935b1e-0000-7000-8000-000000000000';
const MISSED: GrabAnswer = { outcome: 'missed', reason: 'sold_out', next_wave_at: null };
const BUSY: Said = [503, 'unavailable'];

let page: ReturnType<typeof browser>;
let asked: Asked[];
let answers: (Said | Promise<Said>)[];

beforeEach(() => {
  page = browser();
  answers = [];
  asked = server(() => answers.shift());
});

afterEach(() => vi.unstubAllGlobals());

const ids = () => asked.map(({ headers }) => headers['Grab-Id']);
const attempts = () => asked.map(({ headers }) => headers['Grab-Attempt']);

function grabber(user = 'bob', sleep = () => Promise.resolve()) {
  const heard: GrabAnswer[] = [];
  const signedIn: GrabHooks['signedIn'] = (ask) => ask();
  const hooks = { onAnswer: (answer: GrabAnswer) => heard.push(answer), signedIn };
  return { one: new Grabber(CAMPAIGN, user, hooks, { sleep, random: () => 0 }), heard };
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
    answers = [BUSY, [502, 'http_502'], MISSED, MISSED];
    const { one } = grabber();
    one.tap();
    await settled(one);
    one.tap();
    await settled(one);
    expect(attempts()).toEqual(['1', '2', '3', '1']);
    expect(new Set(ids().slice(0, 3)).size).toBe(1);
    expect(ids()[3]).not.toBe(ids()[0]);
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
    expect(new Set(ids()).size).toBe(1);
    expect(attempts().at(-1)).toBe(String(GRAB_RETRIES.attempts + 1));
  });

  it.each([
    ['online', () => page.tell('online')],
    ['seen', () => page.see()],
  ])('without any answer is asked about when the page is %s again', async (_, wake) => {
    const { one, heard } = grabber();
    one.tap();
    await settled(one);
    answers = [MISSED];
    wake();
    wake();
    await vi.waitFor(() => expect(heard).toEqual([MISSED]));
    expect(asked).toHaveLength(GRAB_RETRIES.attempts + 1);
    expect(new Set(ids()).size).toBe(1);
    wake();
    await settled(one);
    expect(asked).toHaveLength(GRAB_RETRIES.attempts + 1);
  });

  it('goes on after a reload, for the same user only', async () => {
    const { one } = grabber();
    one.tap();
    await settled(one);
    one.stop();
    const before = asked.length;
    grabber('eve');
    expect(asked).toHaveLength(before);
    answers = [MISSED];
    const again = grabber();
    await settled(again.one);
    expect(ids().at(-1)).toBe(ids()[0]);
    expect(attempts().at(-1)).toBe(String(before + 1));
    expect(again.heard).toEqual([MISSED]);
    expect(page.tab.size).toBe(0);
  });

  it('stays pending when the token is no longer taken', async () => {
    answers = [[401, 'unauthenticated']];
    const { one } = grabber();
    one.tap();
    await settled(one);
    expect(one.view.kind).toBe('unanswered');
    expect(page.tab.size).toBe(1);
  });

  it('that the server refuses is over', async () => {
    answers = [[404, 'no_such_campaign']];
    const { one } = grabber();
    one.tap();
    await settled(one);
    expect(one.view.kind).toBe('refused');
    expect(page.tab.size).toBe(0);
  });

  it('that something in between refuses is not over', async () => {
    answers = [[403, 'http_403'], MISSED];
    const { one, heard } = grabber();
    one.tap();
    await settled(one);
    expect(heard).toEqual([MISSED]);
  });

  it('is forgotten once the rain has changed, if it was missed', async () => {
    const won: GrabAnswer = {
      outcome: 'won',
      packet: { id: '1-1', wave: 1, amount: 1, currency: 'CNY', label: null },
      claimed_at: '2026-11-22T12:00:00.000Z',
      repeated: false,
    };
    answers = [MISSED, won];
    const { one } = grabber();
    one.tap();
    await settled(one);
    one.forgetMiss();
    expect(one.view).toEqual({ kind: 'idle' });
    one.tap();
    await settled(one);
    one.forgetMiss();
    expect(one.view.kind).toBe('answered');
  });
});

describe('once stopped', () => {
  it('nothing more is asked: the cookie may be the next user’s', async () => {
    const pause = later<void>();
    const { one } = grabber('bob', () => pause.promise);
    one.tap();
    await vi.waitFor(() => expect(asked).toHaveLength(1));
    one.stop();
    pause.keep();
    page.tell('online');
    page.see();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(asked).toHaveLength(1);
  });

  it('an answer that was under way changes nothing, and the tap waits for its user', async () => {
    const answer = later<Said>();
    answers = [answer.promise];
    const { one, heard } = grabber();
    one.tap();
    await vi.waitFor(() => expect(asked).toHaveLength(1));
    one.stop();
    const eve = grabber('eve');
    answer.keep(MISSED);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(heard).toEqual([]);
    expect(eve.one.view).toEqual({ kind: 'idle' });
    answers = [MISSED];
    const again = grabber();
    await settled(again.one);
    expect(new Set(ids()).size).toBe(1);
    expect(attempts()).toEqual(['1', '2']);
  });
});
