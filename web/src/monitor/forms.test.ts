import { describe, expect, it } from 'vitest';

import {
  budgetOf,
  changedRules,
  demoDraft,
  emptyDraft,
  readCampaign,
  readRules,
  readTopUp,
  rulesDraft,
  userList,
  waveSizes,
} from './forms.ts';

const NOW = Date.parse('2026-11-22T12:00:00Z');

describe('waveSizes', () => {
  it.each([
    [10, 3, [4, 3, 3]],
    [9, 3, [3, 3, 3]],
    [3, 3, [1, 1, 1]],
    [5, 1, [5]],
  ])('%i in %i is %j', (packets, batches, sizes) => {
    expect(waveSizes(packets, batches)).toEqual(sizes);
  });
});

describe('readCampaign', () => {
  it('makes the demo into the request of the contract', () => {
    const { body, problems } = readCampaign(demoDraft('Demo'), NOW);
    expect(problems).toEqual({});
    expect(body).toEqual({
      title: 'Demo',
      packets: 10,
      batches: 3,
      interval_seconds: 2,
      currency: 'CNY',
      split: { mode: 'lucky', total: 10_000, min: 1, max: null },
      win_limit: { count: 1, per: 'campaign' },
      rules: {
        attempt_window_seconds: null,
        discard_probability: 0,
        eligible: 'anyone',
        blocked: [],
      },
    });
  });

  it('marks what is missing or wrong at its field', () => {
    const draft = emptyDraft();
    draft.packets = '2.5';
    draft.split.total = 'much';
    draft.starts = 'at';
    const { problems } = readCampaign(draft, NOW);
    expect(problems).toMatchObject({
      title: 'required',
      packets: 'whole',
      'split.total': 'money',
      starts_at: 'required',
    });
  });

  it('refuses more batches than packets, and a total that cannot be split', () => {
    const draft = demoDraft('Demo');
    draft.batches = '11';
    draft.split.total = '0.05';
    const { problems } = readCampaign(draft, NOW);
    expect(problems).toMatchObject({ batches: 'batches', 'split.total': 'too_small' });
    draft.split = { ...draft.split, total: '100', max: '5' };
    expect(readCampaign(draft, NOW).problems).toMatchObject({ 'split.total': 'too_large' });
  });

  it('counts amounts in the currency’s own units', () => {
    const draft = demoDraft('Demo');
    draft.currency = 'JPY';
    draft.split = { ...draft.split, mode: 'equal', amount: '50' };
    expect(readCampaign(draft, NOW).body.split).toEqual({ mode: 'equal', amount: 50 });
    draft.split.amount = '0.5';
    expect(readCampaign(draft, NOW).problems).toMatchObject({ 'split.amount': 'money' });
  });

  it('wants prizes to add up to the packets', () => {
    const draft = demoDraft('Demo');
    const tiers = [
      { label: 'First', count: '1', amount: '10' },
      { label: 'Second', count: '8', amount: '1' },
    ];
    draft.split = { ...draft.split, mode: 'tiers', tiers };
    expect(readCampaign(draft, NOW).problems).toEqual({ 'split.tiers': 'tier_count' });
    tiers[1]!.count = '9';
    expect(readCampaign(draft, NOW).problems).toEqual({});
    expect(budgetOf(draft.split, 10, 2)).toBe(1_900);
  });

  it('refuses an end before the start', () => {
    const draft = demoDraft('Demo');
    draft.ends_at = '2020-01-01T00:00';
    expect(readCampaign(draft, NOW).problems).toEqual({ ends_at: 'before_start' });
  });
});

describe('rules', () => {
  it('come back as they were typed', () => {
    const rules = {
      attempt_window_seconds: 10,
      discard_probability: 0.125,
      eligible: ['ann', '李雷'],
      blocked: ['eve'],
    };
    expect(readRules(rulesDraft(rules))).toEqual({ rules, problems: {} });
  });

  it('are refused where they make no sense', () => {
    const draft = { ...emptyDraft().rules, discard: '101', eligible: 'listed' as const, window: '0' };
    expect(readRules(draft).problems).toEqual({
      'rules.discard_probability': 'percent',
      'rules.eligible': 'required',
      'rules.attempt_window_seconds': 'too_small',
    });
  });

  it('take one user a line, whatever an id is made of, each once', () => {
    expect(userList(' ann\n李雷，bob,\r\n\nann ')).toEqual(['ann', '李雷，bob,']);
  });

  it('are changed one by one', () => {
    const before = readRules(emptyDraft().rules).rules;
    expect(changedRules(before, { ...before })).toEqual({});
    const after = { ...before, blocked: ['eve'], attempt_window_seconds: 10 };
    expect(changedRules(before, after)).toEqual({ blocked: ['eve'], attempt_window_seconds: 10 });
    expect(changedRules(after, before)).toEqual({ blocked: [], attempt_window_seconds: null });
  });
});

describe('readTopUp', () => {
  const draft = { packets: '5', total: '1', tiers: [] };

  it('asks only for what the split needs', () => {
    expect(readTopUp(draft, { mode: 'equal', amount: 100 }, 2)).toEqual({
      body: { packets: 5 },
      problems: {},
    });
    const lucky = { mode: 'lucky', total: 10, min: 30, max: null } as const;
    expect(readTopUp(draft, lucky, 2).problems).toEqual({ total: 'too_small' });
  });
});
