/**
 * The server's contract as typed functions, for both pages: one function per call, nothing
 * decided here. Times are RFC 3339 texts, money is in minor units.
 */
import { request } from './http.ts';

// ---- What everybody may see -------------------------------------------------------------

export type State = 'scheduled' | 'running' | 'paused' | 'ended';

export interface Wave {
  number: number;
  packets: number;
  state: 'planned' | 'issuing' | 'open';
  due_at: string;
  opened_at: string | null;
}

export type Per = 'campaign' | 'wave' | { seconds: number };

export interface WinLimit {
  count: number;
  per: Per;
}

export interface CampaignSummary {
  id: string;
  title: string;
  state: State;
  starts_at: string;
  ends_at: string;
  next_wave_at: string | null;
}

export interface PublicListing extends CampaignSummary {
  /** When it ended, before `ends_at` perhaps. */
  closed_at: string | null;
}

export interface PublicCampaign extends CampaignSummary {
  server_time: string;
  waves: Wave[];
  packets_total: number;
  packets_issued: number;
  currency: string;
  currency_exponent: number;
  split_commitment: string;
  split_seed: string | null;
  win_limit: WinLimit;
}

export interface Packet {
  id: string;
  wave: number;
  amount: number;
  currency: string;
  label: string | null;
}

export type Missed =
  | 'not_started'
  | 'between_waves'
  | 'not_this_time'
  | 'sold_out'
  | 'paused'
  | 'ended';

export type Rejected = 'too_frequent' | 'discarded' | 'blocked' | 'not_eligible' | 'limit_reached';

export type GrabAnswer =
  | { outcome: 'won'; packet: Packet; claimed_at: string; repeated: boolean }
  | { outcome: 'missed'; reason: Missed; next_wave_at: string | null }
  | { outcome: 'rejected'; reason: Rejected };

export interface Win {
  packet: Packet;
  claimed_at: string;
  redeemed_at: string | null;
}

export interface Session {
  token: string;
  user: string;
  expires_at: string;
}

const REDPACKET = '/redpacket/campaigns';
const part = encodeURIComponent;

export const openSession = (code: string) =>
  request<Session>('/account/sessions', { method: 'POST', body: { code } });

export const closeSession = () => request<void>('/account/sessions', { method: 'DELETE' });

export const publicCampaigns = () => request<{ campaigns: PublicListing[] }>(REDPACKET);

export const publicCampaign = (id: string) => request<PublicCampaign>(`${REDPACKET}/${part(id)}`);

export const eventsUrl = (id: string) => `${REDPACKET}/${part(id)}/events`;

/** One attempt of the tap `grabId`; `attempt` counts from 1. Answered by the server within 3 s. */
export const grab = (id: string, grabId: string, attempt: number) =>
  request<GrabAnswer>(`${REDPACKET}/${part(id)}/grab`, {
    method: 'POST',
    headers: { 'Grab-Id': grabId, 'Grab-Attempt': String(attempt) },
    timeoutMs: 6_000,
  });

export const ownWins = (id: string) => request<{ wins: Win[] }>(`${REDPACKET}/${part(id)}/wins`);

// ---- What the organiser may see and do --------------------------------------------------

export interface Tier {
  label: string;
  count: number;
  amount: number;
}

export type Split =
  | { mode: 'equal'; amount: number }
  | { mode: 'lucky'; total: number; min: number; max: number | null }
  | { mode: 'tiers'; tiers: Tier[] };

export interface Rules {
  attempt_window_seconds: number | null;
  discard_probability: number;
  eligible: 'anyone' | 'registered' | string[];
  blocked: string[];
}

export interface NewCampaign {
  title: string;
  packets: number;
  batches: number;
  interval_seconds: number;
  starts_at?: string;
  ends_at?: string;
  currency: string;
  split: Split;
  win_limit: WinLimit;
  rules: Rules;
}

export interface Tranche {
  number: number;
  packets: number;
  split: Split;
}

/** A campaign as the list shows it. */
export interface ListedCampaign {
  id: string;
  title: string;
  state: State;
  created_at: string;
  starts_at: string;
  ends_at: string;
  packets_total: number;
  currency: string;
  currency_exponent: number;
  budget: number;
  halted: string | null;
}

export interface Campaign extends PublicCampaign {
  /** The participants' page, under the address that phones reach. */
  link: string;
  created_at: string;
  interval_seconds: number;
  split: Split;
  tranches: Tranche[];
  rules: Rules;
  budget: number;
  /** What the close gave back; null until it has ended. */
  refunded: { packets: number; amount: number; at: string } | null;
  halted: string | null;
  paused_at: string | null;
  closed_at: string | null;
}

export interface Outcomes {
  won: number;
  repeated: number;
  unavailable: number;
  missed: Partial<Record<Missed, number>>;
  rejected: Partial<Record<Rejected, number>>;
}

export interface Live {
  state: State;
  server_time: string;
  issued: number;
  queued: number;
  leased: number;
  claimed: number;
  remaining: number;
  refunded: number;
  claimed_amount: number;
  refunded_amount: number;
  by_outcome: Outcomes;
  grabs_per_second: number;
}

export interface Winner {
  packet: string;
  wave: number;
  user: string;
  amount: number;
  label: string | null;
  claimed_at: string;
  redeemed_at: string | null;
}

export interface Redeemed extends Winner {
  /** Whether somebody had redeemed it before: it is not to be paid out again. */
  repeated: boolean;
}

export interface WinnersPage {
  winners: Winner[];
  next_cursor: string | null;
}

export interface Stats {
  step_seconds: number;
  from: string;
  to: string;
  series: (Outcomes & { at: string })[];
  latency_micros: Partial<Record<'p50' | 'p90' | 'p99' | 'p999', number | null>>;
  amounts: { from: number; to: number; count: number }[];
  gaps: { from: string; to: string }[];
}

export interface Audit {
  balanced: boolean;
  budget: number;
  claimed: number;
  unclaimed: number;
  refunded: number;
  packets: { total: number; claimed: number; unclaimed: number; refunded: number };
  double_claims: number;
  over_limit: number;
  wrong_amounts: number;
  split_commitment: string;
  checked_at: string;
}

/** Bundles that wait in the queue, and bundles that a grab node has received, as it says. */
export interface Queue {
  backend: string;
  visible: number;
  invisible: number;
  /** Whether these counts can be relied on. */
  exact: boolean;
}

/** Where the packets of all open campaigns are, by the ledger: exact. */
export interface Packets {
  campaigns: number;
  issued: number;
  queued: number;
  leased: number;
  claimed: number;
}

/** The grabs of a campaign as the log service counts them, beside the ledger's counters. */
export interface LogStats {
  /** Null where the log is not shipped; then all else but the time is null, too. */
  service: string | null;
  store: string | null;
  asked_at: string;
  log: Outcomes | null;
  ledger: Outcomes | null;
  difference: number | null;
  agrees: boolean | null;
}

export interface User {
  user: string;
  name: string | null;
  created_at: string;
}

const API = '/monitor/api';
const CAMPAIGNS = `${API}/campaigns`;
const campaignPath = (id: string, rest = '') => `${CAMPAIGNS}/${part(id)}${rest}`;

function query(values: Record<string, string | number | null | undefined>): string {
  const given = Object.entries(values).filter(([, value]) => value != null && value !== '');
  if (given.length === 0) return '';
  return `?${new URLSearchParams(given.map(([key, value]) => [key, String(value)]))}`;
}

const keyed = (key: string) => ({ 'Idempotency-Key': key });

export const setupState = () => request<{ needed: boolean }>(`${API}/setup`);

export const setUp = (token: string, username: string, password: string) =>
  request<unknown>(`${API}/setup`, { method: 'POST', body: { token, username, password } });

export const whoAmI = () => request<{ username: string }>(`${API}/sessions`);

export const logIn = (username: string, password: string) =>
  request<unknown>(`${API}/sessions`, { method: 'POST', body: { username, password } });

export const logOut = () => request<void>(`${API}/sessions`, { method: 'DELETE' });

/** The newest first; `before` is the `next_before` of the page before. */
export const campaigns = (before: number | null) =>
  request<{ campaigns: ListedCampaign[]; next_before: number | null }>(
    `${CAMPAIGNS}${query({ before })}`,
  );

export const campaign = (id: string) => request<Campaign>(campaignPath(id));

export const create = (body: NewCampaign, key: string) =>
  request<Campaign>(CAMPAIGNS, { method: 'POST', body, headers: keyed(key), timeoutMs: 30_000 });

/** What is left out stays as it is, each rule for itself. */
export const change = (
  id: string,
  body: { title?: string; ends_at?: string; rules?: Partial<Rules> },
) => request<Campaign>(campaignPath(id), { method: 'PATCH', body });

export const act = (id: string, action: 'pause' | 'resume' | 'close') =>
  request<unknown>(campaignPath(id, `/${action}`), { method: 'POST', timeoutMs: 30_000 });

export const topUp = (
  id: string,
  body: { packets: number; total?: number; tiers?: Tier[] },
  key: string,
) =>
  request<unknown>(campaignPath(id, '/top-up'), {
    method: 'POST',
    body,
    headers: keyed(key),
    timeoutMs: 30_000,
  });

export const live = (id: string) => request<Live>(campaignPath(id, '/live'));

export const winners = (
  id: string,
  search: { cursor?: string | null; q?: string; code?: string },
) => request<WinnersPage>(campaignPath(id, `/winners${query(search)}`));

export const winnersCsvUrl = (id: string) => campaignPath(id, '/winners?format=csv');

export const redeem = (id: string, packet: string) =>
  request<Redeemed>(campaignPath(id, `/winners/${part(packet)}/redeem`), { method: 'POST' });

export const stats = (id: string, range: { from?: string; to?: string; step?: number }) =>
  request<Stats>(campaignPath(id, `/stats${query(range)}`), { timeoutMs: 20_000 });

export const logStats = (id: string) =>
  request<LogStats>(campaignPath(id, '/stats/log'), { timeoutMs: 20_000 });

export const audit = (id: string) =>
  request<Audit>(campaignPath(id, '/audit'), { timeoutMs: 120_000 });

export const qrUrl = (id: string) => campaignPath(id, '/qr.svg');

export const queue = () => request<Queue>(`${API}/queue`);

export const packets = () => request<Packets>(`${API}/packets`);

export const users = (cursor: string | null) =>
  request<{ users: User[]; total: number; next_cursor: string | null }>(
    `${API}/users${query({ cursor })}`,
  );

export const importUsers = (content: string, type: 'text/csv' | 'application/x-ndjson') =>
  request<{ added: number; changed: number }>(`${API}/users`, {
    method: 'PUT',
    text: { content, type },
    timeoutMs: 120_000,
  });

export const deleteUser = (user: string) =>
  request<unknown>(`${API}/users/${part(user)}`, { method: 'DELETE' });
