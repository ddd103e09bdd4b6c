/**
 * What the organiser types, and the request it becomes. Pure: checks here only spare a round
 * trip; the server decides, and its refusals are shown at the same fields.
 */
import type { NewCampaign, Per, Rules, Split, Tier, WinLimit } from '../shared/api.ts';
import { AMOUNT_MAX, CURRENCIES, decimal, parseMoney } from '../shared/money.ts';

export interface TierDraft {
  label: string;
  count: string;
  amount: string;
}

export interface SplitDraft {
  mode: Split['mode'];
  total: string;
  min: string;
  max: string;
  amount: string;
  tiers: TierDraft[];
}

export interface RulesDraft {
  window: string;
  /** In per cent. */
  discard: string;
  eligible: 'anyone' | 'registered' | 'listed';
  listed: string;
  blocked: string;
}

export interface CampaignDraft {
  title: string;
  packets: string;
  batches: string;
  interval: string;
  starts: 'now' | 'at';
  starts_at: string;
  ends_at: string;
  currency: string;
  split: SplitDraft;
  limit_count: string;
  limit_per: 'campaign' | 'wave' | 'seconds';
  limit_seconds: string;
  rules: RulesDraft;
}

/** Why a field cannot be sent; the words are in `problems.ts`. */
export type Problem =
  | 'required'
  | 'whole'
  | 'money'
  | 'percent'
  | 'past'
  | 'before_start'
  | 'batches'
  | 'too_small'
  | 'too_large'
  | 'min_max'
  | 'tier_count';

/** By the name of the field in the request. */
export type Problems = Record<string, Problem>;

export const NO_RULES: RulesDraft = {
  window: '',
  discard: '0',
  eligible: 'anyone',
  listed: '',
  blocked: '',
};

export function emptyDraft(): CampaignDraft {
  return {
    title: '',
    packets: '',
    batches: '1',
    interval: '60',
    starts: 'now',
    starts_at: '',
    ends_at: '',
    currency: 'CNY',
    split: { mode: 'lucky', total: '', min: '', max: '', amount: '', tiers: [emptyTier()] },
    limit_count: '1',
    limit_per: 'campaign',
    limit_seconds: '60',
    rules: { ...NO_RULES },
  };
}

/** The example of the article that Hongbao is built after. */
export function demoDraft(title: string): CampaignDraft {
  const draft = emptyDraft();
  const split: SplitDraft = { ...draft.split, total: '100.00' };
  return { ...draft, title, packets: '10', batches: '3', interval: '2', split };
}

export const emptyTier = (): TierDraft => ({ label: '', count: '', amount: '' });

/** The decimal places of `currency`. */
export const exponentOf = (currency: string): number => CURRENCIES[currency] ?? 2;

/** A whole number of at least 0 as typed, or null. */
export function whole(text: string): number | null {
  const digits = text.trim();
  return /^\d{1,15}$/.test(digits) ? Number(digits) : null;
}

/** `packets` cut into `batches` waves, the larger ones first: 10 in 3 is 4, 3, 3. */
export function waveSizes(packets: number, batches: number): number[] {
  const each = Math.floor(packets / batches);
  const longer = packets % batches;
  return Array.from({ length: batches }, (_, i) => each + (i < longer ? 1 : 0));
}

/** The budget of what is typed so far, in minor units; null while it cannot be told. */
export function budgetOf(
  split: Pick<SplitDraft, 'mode' | 'total' | 'amount' | 'tiers'>,
  packets: number | null,
  exponent: number,
): number | null {
  const amounts = (text: string) => parseMoney(text, exponent);
  let budget: number | null = null;
  if (split.mode === 'lucky') {
    budget = amounts(split.total);
  } else if (split.mode === 'equal') {
    const amount = amounts(split.amount);
    budget = amount === null || packets === null ? null : amount * packets;
  } else {
    budget = split.tiers.reduce<number | null>((sum, tier) => {
      const count = whole(tier.count);
      const amount = amounts(tier.amount);
      return sum === null || count === null || amount === null ? null : sum + count * amount;
    }, 0);
  }
  return budget !== null && budget <= AMOUNT_MAX ? budget : null;
}

/** One user id a line: an id may hold any other separator. */
export function userList(text: string): string[] {
  return [...new Set(text.split('\n').map((line) => line.trim()).filter(Boolean))];
}

/** A `datetime-local` value, read in this browser's time zone, as RFC 3339 in UTC. */
export function localToUtc(text: string): string | null {
  const at = new Date(text);
  return text === '' || Number.isNaN(at.getTime()) ? null : at.toISOString();
}

/** RFC 3339 as a `datetime-local` value in this browser's time zone. */
export function utcToLocal(at: string): string {
  const date = new Date(at);
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19);
}

class Reader {
  problems: Problems = {};

  whole(field: string, text: string, min: number): number {
    const value = whole(text);
    if (text.trim() === '') this.#note(field, 'required');
    else if (value === null) this.#note(field, 'whole');
    else if (value < min) this.#note(field, 'too_small');
    return value ?? 0;
  }

  money(field: string, text: string, exponent: number, min: number): number {
    const value = parseMoney(text, exponent);
    if (text.trim() === '') this.#note(field, 'required');
    else if (value === null) this.#note(field, 'money');
    else if (value < min) this.#note(field, 'too_small');
    return value ?? 0;
  }

  check(field: string, holds: boolean, problem: Problem): void {
    if (!holds) this.#note(field, problem);
  }

  /** The first problem of a field is the one to mend first. */
  #note(field: string, problem: Problem): void {
    this.problems[field] ??= problem;
  }
}

function readTiers(reader: Reader, drafts: TierDraft[], packets: number, exponent: number): Tier[] {
  const tiers = drafts.map((draft, i) => {
    const field = `split.tiers.${i}`;
    reader.check(`${field}.label`, draft.label.trim() !== '', 'required');
    return {
      label: draft.label.trim(),
      count: reader.whole(`${field}.count`, draft.count, 1),
      amount: reader.money(`${field}.amount`, draft.amount, exponent, 1),
    };
  });
  const counted = tiers.reduce((sum, { count }) => sum + count, 0);
  reader.check('split.tiers', counted === packets, 'tier_count');
  return tiers;
}

function readSplit(reader: Reader, draft: SplitDraft, packets: number, exponent: number): Split {
  switch (draft.mode) {
    case 'equal':
      return { mode: 'equal', amount: reader.money('split.amount', draft.amount, exponent, 1) };
    case 'tiers':
      return { mode: 'tiers', tiers: readTiers(reader, draft.tiers, packets, exponent) };
    case 'lucky': {
      const total = reader.money('split.total', draft.total, exponent, 1);
      const given = draft.min.trim() !== '';
      const min = given ? reader.money('split.min', draft.min, exponent, 1) : 1;
      const bounded = draft.max.trim() !== '';
      const max = bounded ? reader.money('split.max', draft.max, exponent, 1) : null;
      reader.check('split.max', max === null || max >= min, 'min_max');
      reader.check('split.total', total >= min * packets, 'too_small');
      reader.check('split.total', max === null || total <= max * packets, 'too_large');
      return { mode: 'lucky', total, min, max };
    }
  }
}

export function readRules(draft: RulesDraft): { rules: Rules; problems: Problems } {
  const reader = new Reader();
  const bounded = draft.window.trim() !== '';
  const percent = Number(draft.discard.trim() === '' ? '0' : draft.discard);
  reader.check('rules.discard_probability', percent >= 0 && percent <= 100, 'percent');
  const listed = userList(draft.listed);
  const restricted = draft.eligible === 'listed';
  reader.check('rules.eligible', !restricted || listed.length > 0, 'required');
  const rules: Rules = {
    attempt_window_seconds: bounded
      ? reader.whole('rules.attempt_window_seconds', draft.window, 1)
      : null,
    discard_probability: Math.round(percent * 10_000) / 1_000_000,
    eligible: draft.eligible === 'listed' ? listed : draft.eligible,
    blocked: userList(draft.blocked),
  };
  return { rules, problems: reader.problems };
}

/** The rules that were changed: the others may have been changed by somebody else meanwhile. */
export function changedRules(before: Rules, after: Rules): Partial<Rules> {
  const names = Object.keys(after) as (keyof Rules)[];
  const changed = names.filter((name) => JSON.stringify(after[name]) !== JSON.stringify(before[name]));
  return Object.fromEntries(changed.map((name) => [name, after[name]]));
}

export function rulesDraft(rules: Rules): RulesDraft {
  const listed = Array.isArray(rules.eligible);
  return {
    window: rules.attempt_window_seconds === null ? '' : String(rules.attempt_window_seconds),
    discard: String(Math.round(rules.discard_probability * 1_000_000) / 10_000),
    eligible: Array.isArray(rules.eligible) ? 'listed' : rules.eligible,
    listed: listed ? (rules.eligible as string[]).join('\n') : '',
    blocked: rules.blocked.join('\n'),
  };
}

function readLimit(reader: Reader, draft: CampaignDraft): WinLimit {
  const per: Per =
    draft.limit_per === 'seconds'
      ? { seconds: reader.whole('win_limit.per', draft.limit_seconds, 1) }
      : draft.limit_per;
  return { count: reader.whole('win_limit.count', draft.limit_count, 1), per };
}

/** The request that `draft` stands for, and what keeps it from being sent. */
export function readCampaign(
  draft: CampaignDraft,
  nowMs: number,
): { body: NewCampaign; problems: Problems } {
  const reader = new Reader();
  const exponent = exponentOf(draft.currency);
  const packets = reader.whole('packets', draft.packets, 1);
  const batches = reader.whole('batches', draft.batches, 1);
  reader.check('title', draft.title.trim() !== '', 'required');
  reader.check('batches', batches <= packets || packets === 0, 'batches');

  const startsAt = draft.starts === 'at' ? localToUtc(draft.starts_at) : null;
  reader.check('starts_at', draft.starts === 'now' || startsAt !== null, 'required');
  reader.check('starts_at', startsAt === null || Date.parse(startsAt) > nowMs - 60_000, 'past');
  const endsAt = localToUtc(draft.ends_at);
  const start = startsAt === null ? nowMs : Date.parse(startsAt);
  reader.check('ends_at', endsAt === null || Date.parse(endsAt) > start, 'before_start');

  const { rules, problems } = readRules(draft.rules);
  const body: NewCampaign = {
    title: draft.title.trim(),
    packets,
    batches,
    interval_seconds: batches > 1 ? reader.whole('interval_seconds', draft.interval, 0) : 0,
    ...(startsAt !== null && { starts_at: startsAt }),
    ...(endsAt !== null && { ends_at: endsAt }),
    currency: draft.currency,
    split: readSplit(reader, draft.split, packets, exponent),
    win_limit: readLimit(reader, draft),
    rules,
  };
  return { body, problems: { ...reader.problems, ...problems } };
}

export interface TopUpDraft {
  packets: string;
  total: string;
  tiers: TierDraft[];
}

/** A top-up follows the campaign's own split; an equal one needs only the number. */
export function readTopUp(draft: TopUpDraft, split: Split, exponent: number) {
  const reader = new Reader();
  const packets = reader.whole('packets', draft.packets, 1);
  const body: { packets: number; total?: number; tiers?: Tier[] } = { packets };
  if (split.mode === 'lucky') {
    body.total = reader.money('total', draft.total, exponent, 1);
    reader.check('total', body.total >= split.min * packets, 'too_small');
    const most = split.max === null ? AMOUNT_MAX : split.max * packets;
    reader.check('total', body.total <= most, 'too_large');
  }
  if (split.mode === 'tiers') {
    body.tiers = readTiers(reader, draft.tiers, packets, exponent);
  }
  return { body, problems: reader.problems };
}

/** A tier of the campaign as it is typed. */
export const tierDraft = (tier: Tier, exponent: number): TierDraft => ({
  label: tier.label,
  count: String(tier.count),
  amount: decimal(tier.amount, exponent),
});
