import { afterEach, beforeEach, expect, it, vi } from 'vitest';

import { Rain } from './rain.svelte.ts';
import { type Asked, browser, later, type Said, server } from '../shared/testkit.ts';

const START = Date.parse('2026-11-22T12:00:00Z');

/** The campaign as it was so many seconds after the start. */
const at = (seconds: number, state = 'running', packets_issued = 4) => ({
  state,
  packets_issued,
  next_wave_at: null,
  server_time: new Date(START + seconds * 1000).toISOString(),
});

let streams: Stream[];

class Stream extends EventTarget {
  static OPEN = 1;
  readyState = 0;
  onopen?: () => void;
  onerror?: () => void;

  constructor() {
    super();
    streams.push(this);
  }

  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }

  say(name: string, campaign: object): void {
    this.dispatchEvent(new MessageEvent(name, { data: JSON.stringify(campaign) }));
  }

  close(): void {
    this.readyState = 2;
  }
}

let page: ReturnType<typeof browser>;
let asked: Asked[];
let rain: Rain;
let says: () => Said | undefined | Promise<Said>;

beforeEach(() => {
  vi.useFakeTimers();
  page = browser();
  streams = [];
  vi.stubGlobal('EventSource', Stream);
  asked = server(() => says());
});

afterEach(() => {
  rain.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function follow(first: () => Said | undefined): Promise<void> {
  says = first;
  rain = new Rain('rain', () => 0.5);
  rain.start();
  await vi.advanceTimersByTimeAsync(1);
  streams[0]?.open();
}

it('never goes back to an older state, but takes the end whenever it comes', async () => {
  await follow(() => at(1));
  const late = later<Said>();
  says = () => late.promise;
  const asking = rain.refresh();
  streams[0]!.say('state', at(9));
  late.keep(at(5, 'paused'));
  await asking;
  expect(rain.campaign?.state).toBe('running');
  streams[0]!.say('ended', at(8, 'ended'));
  streams[0]!.say('state', at(10));
  expect(rain.campaign?.state).toBe('ended');
  expect(streams[0]!.readyState).toBe(2);
});

it('asks several times a minute while paused, though events come', async () => {
  await follow(() => at(1));
  streams[0]!.say('state', at(2, 'paused'));
  const before = asked.length;
  says = () => at(3, 'paused');
  await vi.advanceTimersByTimeAsync(46_000);
  expect(asked.length - before).toBe(3);
  says = () => at(60);
  await vi.advanceTimersByTimeAsync(15_000);
  expect(rain.campaign?.state).toBe('running');
  const resumed = asked.length;
  await vi.advanceTimersByTimeAsync(30_000);
  expect(asked).toHaveLength(resumed);
});

it('has one chain of asks and one connection, however often it wakes', async () => {
  await follow(() => at(1));
  streams[0]!.readyState = 2;
  streams[0]!.onerror?.();
  for (let i = 0; i < 5; i += 1) page.see();
  page.tell('online');
  await vi.advanceTimersByTimeAsync(1);
  expect(streams.filter(({ readyState }) => readyState !== 2)).toHaveLength(1);
  const opened = streams.length;
  streams.at(-1)!.open();
  const before = asked.length;
  await vi.advanceTimersByTimeAsync(61_000);
  expect(streams).toHaveLength(opened);
  expect(asked.length - before).toBeLessThanOrEqual(2);
});

it('is sold out for as many packets as it was told of', async () => {
  await follow(() => at(1));
  streams[0]!.say('sold_out', at(0));
  expect(rain.soldOut).toBe(true);
  streams[0]!.say('wave_opened', at(3, 'running', 7));
  expect(rain.soldOut).toBe(false);
  streams[0]!.say('sold_out', at(2));
  expect(rain.soldOut).toBe(false);
});

it.each([
  [[404, 'no_such_campaign'], 'unknown'],
  [[400, 'invalid_field'], 'unknown'],
  [[404, 'http_404'], 'unreachable'],
  [[403, 'http_403'], 'unreachable'],
  [[503, 'unavailable'], 'unreachable'],
] as const)('%j at first is %s', async (said, problem) => {
  await follow(() => [...said] as Said);
  expect(rain.problem).toBe(problem);
});

it('goes on asking for a campaign that it has shown', async () => {
  await follow(() => at(1));
  says = () => [404, 'no_such_campaign'];
  await rain.refresh();
  expect(rain.problem).toBeNull();
  says = () => at(70);
  await vi.advanceTimersByTimeAsync(61_000);
  expect(rain.campaign?.server_time).toBe(at(70).server_time);
});
