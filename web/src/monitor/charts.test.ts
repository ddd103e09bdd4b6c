import { expect, it } from 'vitest';

import type { Stats } from '../shared/api.ts';
import { amountsOption, distributionOption, seriesOption, summed } from './charts.ts';
import { KINDS, totalOf } from './outcomes.ts';

const step = (at: string, won: number, sold_out: number) => ({
  at,
  won,
  repeated: 0,
  unavailable: 0,
  missed: { sold_out },
  rejected: {},
});

const STATS: Stats = {
  step_seconds: 1,
  from: '2026-11-22T12:00:00.000Z',
  to: '2026-11-22T12:00:02.000Z',
  series: [step('2026-11-22T12:00:00.000Z', 3, 0), step('2026-11-22T12:00:01.000Z', 1, 5)],
  latency_micros: {},
  amounts: [
    { from: 1, to: 1, count: 3 },
    { from: 2, to: 9, count: 1 },
  ],
  gaps: [{ from: '2026-11-22T12:00:00.500Z', to: '2026-11-22T12:00:01.000Z' }],
};

it('adds steps up, and every outcome counts once in the total', () => {
  const sums = summed(STATS.series);
  expect(sums).toEqual({ won: 4, repeated: 0, unavailable: 0, missed: { sold_out: 5 }, rejected: {} });
  expect(totalOf(sums)).toBe(9);
  expect(new Set(KINDS.map(({ key }) => key)).size).toBe(14);
});

it('stacks the outcomes there are, and marks the gaps once', () => {
  const series = seriesOption(STATS, 'en-GB').series as unknown as {
    stack: string;
    data: [number, number][];
    markArea?: { data: unknown[] };
  }[];
  expect(series).toHaveLength(2);
  expect(new Set(series.map(({ stack }) => stack)).size).toBe(1);
  expect(series[0]!.data.map(([, count]) => count)).toEqual([3, 1]);
  expect(series.filter(({ markArea }) => markArea)).toHaveLength(1);
});

it('draws every tooltip on the canvas: as HTML the page’s policy would block it', () => {
  const options = [
    seriesOption(STATS, 'en-GB'),
    distributionOption(summed(STATS.series), 'en-GB'),
    amountsOption(STATS.amounts, String),
  ];
  for (const { tooltip } of options) expect(tooltip).toMatchObject({ renderMode: 'richText' });
});
