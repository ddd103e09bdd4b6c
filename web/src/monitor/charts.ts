/**
 * What the charts show, as plain options. Nothing here loads the chart library or touches the
 * page, so that what is drawn can be tested.
 */
import type { EChartsOption } from 'echarts';

import { m } from '../paraglide/messages.js';
import type { Outcomes, Stats } from '../shared/api.ts';
import { KINDS } from './outcomes.ts';

/** All steps of a series together. */
export function summed(series: readonly Outcomes[]): Outcomes {
  const sum: Outcomes = { won: 0, repeated: 0, unavailable: 0, missed: {}, rejected: {} };
  for (const step of series) {
    sum.won += step.won;
    sum.repeated += step.repeated;
    sum.unavailable += step.unavailable;
    addTo(sum.missed, step.missed);
    addTo(sum.rejected, step.rejected);
  }
  return sum;
}

function addTo<K extends string>(sum: Partial<Record<K, number>>, more: Partial<Record<K, number>>) {
  for (const [reason, count] of Object.entries(more) as [K, number][]) {
    sum[reason] = (sum[reason] ?? 0) + count;
  }
}

// The tooltip is drawn on the canvas: as HTML it would carry styles that the page forbids.
const TOOLTIP = { renderMode: 'richText', confine: true } as const;
const GRID = { left: 8, right: 16, top: 16, bottom: 64, containLabel: true };

/** Outcomes over time, stacked; steps whose counts were lost are shaded. */
export function seriesOption(stats: Stats, locale: string): EChartsOption {
  const sums = summed(stats.series);
  const kinds = KINDS.filter((kind) => kind.of(sums) > 0);
  const time = (at: string | number) =>
    new Date(at).toLocaleTimeString(locale, { hour12: false });
  return {
    animation: false,
    tooltip: { ...TOOLTIP, trigger: 'axis', axisPointer: { type: 'shadow' } },
    legend: { type: 'scroll', bottom: 0 },
    grid: GRID,
    xAxis: {
      type: 'time',
      min: Date.parse(stats.from),
      max: Date.parse(stats.to),
      axisLabel: { hideOverlap: true, formatter: (at: number) => time(at) },
    },
    yAxis: { type: 'value', minInterval: 1 },
    series: kinds.map((kind, i) => ({
      name: kind.name(),
      type: 'bar',
      stack: 'grabs',
      barMaxWidth: 24,
      barMinWidth: 1,
      large: true,
      itemStyle: { color: kind.colour },
      data: stats.series.map((step) => [Date.parse(step.at), kind.of(step)]),
      ...(i === 0 && stats.gaps.length > 0 && { markArea: gapArea(stats, m.o_chart_gap()) }),
    })),
  };
}

function gapArea(stats: Stats, name: string) {
  return {
    silent: true,
    itemStyle: { color: 'rgba(140, 130, 123, 0.25)' },
    label: { show: false },
    data: stats.gaps.map(({ from, to }): [object, object] => [
      { name, xAxis: Date.parse(from) },
      { xAxis: Date.parse(to) },
    ]),
  };
}

/** How all grabs ended. */
export function distributionOption(sums: Outcomes, locale: string): EChartsOption {
  const kinds = KINDS.filter((kind) => kind.of(sums) > 0);
  return {
    animation: false,
    tooltip: {
      ...TOOLTIP,
      trigger: 'item',
      valueFormatter: (value) => Number(value).toLocaleString(locale),
    },
    legend: { type: 'scroll', bottom: 0 },
    series: [
      {
        type: 'pie',
        radius: ['40%', '62%'],
        center: ['50%', '44%'],
        // Narrow slices would write over each other; their figures are in the table.
        minShowLabelAngle: 12,
        label: { formatter: '{d}%', overflow: 'none' },
        labelLine: { length: 8, length2: 6 },
        data: kinds.map((kind) => ({
          name: kind.name(),
          value: kind.of(sums),
          itemStyle: { color: kind.colour },
        })),
      },
    ],
  };
}

/** How many claimed packets held how much. */
export function amountsOption(
  amounts: Stats['amounts'],
  shown: (units: number) => string,
): EChartsOption {
  const names = amounts.map(({ from, to }) =>
    from === to ? shown(from) : `${shown(from)} – ${shown(to)}`,
  );
  return {
    animation: false,
    tooltip: { ...TOOLTIP, trigger: 'axis', axisPointer: { type: 'shadow' } },
    grid: { ...GRID, bottom: 16 },
    xAxis: {
      type: 'category',
      data: names,
      axisLabel: {
        hideOverlap: true,
        formatter: (_name: string, i: number) => shown(amounts[i]?.from ?? 0),
      },
    },
    yAxis: { type: 'value', minInterval: 1 },
    series: [
      {
        name: m.o_packets(),
        type: 'bar',
        barMaxWidth: 40,
        itemStyle: { color: '#d3353a' },
        data: amounts.map(({ count }) => count),
      },
    ],
  };
}
