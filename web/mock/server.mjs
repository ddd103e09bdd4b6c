/**
 * A stand-in for the server, to look at the pages while they are developed: the built files
 * under the real policy, and made-up answers kept in memory. It proves nothing about the
 * contract; `npm run e2e` does that with the real server.
 *
 * `node mock/server.mjs [port]`, after `npm run build`. Codes and titles change what happens:
 * the code `unknown` is not known, `slow` is answered with 503 twice, then wins.
 */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const DIST = fileURLToPath(new URL('../dist/', import.meta.url));
const POLICY =
  "default-src 'self'; connect-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'";
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
};

const iso = (ms) => new Date(ms).toISOString();
const SEED = 'ab'.repeat(32);
const COMMITMENT = 'cd'.repeat(32);

let organiser = process.env.MOCK_ORGANISER ?? null;
let sessionOpen = organiser !== null;
const users = new Map();
const campaigns = new Map();
const listeners = new Map();

function addCampaign(title, more = {}) {
  const now = Date.now();
  const id = randomUUID();
  const split = more.split ?? { mode: 'lucky', total: 10_000, min: 1, max: null };
  const packets = more.packets ?? 10;
  const batches = more.batches ?? 3;
  const start = Date.parse(more.starts_at ?? iso(now));
  const gap = (more.interval_seconds ?? 2) * 1000;
  const waves = Array.from({ length: batches }, (_, i) => ({
    number: i + 1,
    packets: Math.floor(packets / batches) + (i < packets % batches ? 1 : 0),
    due: start + i * gap,
  }));
  const budget =
    split.mode === 'lucky'
      ? split.total
      : split.mode === 'equal'
        ? split.amount * packets
        : split.tiers.reduce((sum, tier) => sum + tier.count * tier.amount, 0);
  const campaign = {
    id,
    title,
    start,
    end: Date.parse(more.ends_at ?? iso(start + 86_400_000)),
    waves,
    split,
    packets,
    budget,
    currency: more.currency ?? 'CNY',
    paused: false,
    closed: null,
    rules: more.rules ?? {
      attempt_window_seconds: null,
      discard_probability: 0,
      eligible: 'anyone',
      blocked: [],
    },
    wins: [],
    outcomes: { won: 0, repeated: 0, unavailable: 0, missed: {}, rejected: {} },
    created: now,
    halted: more.halted ?? null,
  };
  campaigns.set(id, campaign);
  return campaign;
}

const isOpen = (wave, c) => !c.paused && (wave.due <= Date.now() || c.closed !== null);

function publicView(c) {
  const now = Date.now();
  const waves = c.waves.map((wave) => ({
    number: wave.number,
    packets: wave.packets,
    state: isOpen(wave, c) ? 'open' : 'planned',
    due_at: iso(wave.due),
    opened_at: isOpen(wave, c) ? iso(wave.due) : null,
  }));
  const next = c.waves.find((wave) => !isOpen(wave, c));
  const state = c.closed
    ? 'ended'
    : c.paused
      ? 'paused'
      : c.start > now
        ? 'scheduled'
        : 'running';
  return {
    id: c.id,
    title: c.title,
    state,
    server_time: iso(now),
    starts_at: iso(c.start),
    ends_at: iso(c.end),
    closed_at: c.closed ? iso(c.closed) : null,
    next_wave_at: next && ['scheduled', 'running'].includes(state) ? iso(next.due) : null,
    waves,
    packets_total: c.packets,
    packets_issued: waves.reduce((sum, w) => sum + (w.state === 'open' ? w.packets : 0), 0),
    currency: c.currency,
    currency_exponent: c.currency === 'JPY' ? 0 : 2,
    split_commitment: COMMITMENT,
    split_seed: c.closed ? SEED : null,
    win_limit: { count: 1, per: 'campaign' },
  };
}

const claimed = (c) => c.wins.reduce((sum, win) => sum + win.amount, 0);

function organiserView(c) {
  return {
    ...publicView(c),
    link: `http://127.0.0.1:${server.address().port}/webpage?c=${c.id}`,
    created_at: iso(c.created),
    interval_seconds: 2,
    split: c.split,
    tranches: [{ number: 0, packets: c.packets, split: c.split }],
    rules: c.rules,
    budget: c.budget,
    refunded: c.closed
      ? { packets: c.packets - c.wins.length, amount: c.budget - claimed(c), at: iso(c.closed) }
      : null,
    halted: c.halted,
    paused_at: c.paused ? iso(Date.now()) : null,
    closed_at: c.closed ? iso(c.closed) : null,
  };
}

function live(c) {
  const view = publicView(c);
  return {
    state: view.state,
    server_time: view.server_time,
    issued: view.packets_issued,
    queued: Math.max(0, view.packets_issued - c.wins.length),
    leased: 0,
    claimed: c.wins.length,
    remaining: c.closed ? 0 : c.packets - c.wins.length,
    refunded: c.closed ? c.packets - c.wins.length : 0,
    claimed_amount: claimed(c),
    refunded_amount: c.closed ? c.budget - claimed(c) : 0,
    by_outcome: c.outcomes,
    grabs_per_second: c.closed ? 0 : 12.3,
  };
}

function logStats(c) {
  const { by_outcome: ledger } = live(c);
  const log = { ...ledger, won: Math.max(0, ledger.won - 1) };
  const difference = ledger.won - log.won;
  const store = 'rain/redpacket-access';
  return { service: 'sls', store, asked_at: iso(Date.now()), log, ledger, difference, agrees: difference === 0 };
}

function stats(c) {
  const from = Math.floor((c.start - 5_000) / 1000) * 1000;
  const series = Array.from({ length: 40 }, (_, i) => ({
    at: iso(from + i * 1000),
    won: i > 4 && i < 8 ? 3 : 0,
    repeated: i > 9 ? i % 3 : 0,
    unavailable: i === 20 ? 2 : 0,
    missed: { sold_out: i > 8 ? 20 + ((i * 7) % 13) : 0, between_waves: i > 4 && i < 9 ? 9 : 0 },
    rejected: { discarded: i % 5, too_frequent: i % 4 },
  }));
  return {
    step_seconds: 1,
    from: iso(from),
    to: iso(from + 40_000),
    series,
    latency_micros: { p50: 210, p90: 640, p99: 2_900, p999: 14_000 },
    amounts: Array.from({ length: 12 }, (_, i) => ({
      from: i * 150 + 1,
      to: i * 150 + 150,
      count: Math.max(0, 9 - Math.abs(i - 5) * 2),
    })),
    gaps: [{ from: iso(from + 27_000), to: iso(from + 30_000) }],
  };
}

function audit(c) {
  const bad = c.halted !== null;
  const left = c.packets - c.wins.length;
  return {
    balanced: !bad,
    budget: c.budget,
    claimed: claimed(c),
    unclaimed: c.closed ? 0 : c.budget - claimed(c),
    refunded: c.closed ? c.budget - claimed(c) : 0,
    packets: {
      total: c.packets,
      claimed: c.wins.length,
      unclaimed: c.closed ? 0 : left,
      refunded: c.closed ? left : 0,
    },
    double_claims: 0,
    over_limit: 0,
    wrong_amounts: bad ? 1 : 0,
    split_commitment: COMMITMENT,
    checked_at: iso(Date.now()),
  };
}

class Refusal extends Error {
  constructor(status, code, message) {
    super(message);
    Object.assign(this, { status, code });
  }
}

const tries = new Map();

function grab(c, code, grabId) {
  const count = (tries.get(grabId) ?? 0) + 1;
  tries.set(grabId, count);
  if (code === 'slow' && count < 3) throw new Refusal(503, 'unavailable', 'ask again');
  const view = publicView(c);
  const packet = (win) => ({
    id: win.packet,
    wave: win.wave,
    amount: win.amount,
    currency: c.currency,
    label: win.label,
  });
  const own = c.wins.find((win) => win.user === userOf(code));
  const said = (kind, reason) => {
    if (reason) c.outcomes[kind][reason] = (c.outcomes[kind][reason] ?? 0) + 1;
    else c.outcomes[kind] += 1;
  };
  if (own) {
    said('repeated');
    return { outcome: 'won', packet: packet(own), claimed_at: own.claimed_at, repeated: true };
  }
  const missed = (reason) => {
    said('missed', reason);
    return { outcome: 'missed', reason, next_wave_at: view.next_wave_at };
  };
  if (view.state === 'scheduled') return missed('not_started');
  if (view.state !== 'running') return missed(view.state);
  if (view.packets_issued <= c.wins.length) {
    return missed(view.next_wave_at ? 'between_waves' : 'sold_out');
  }
  if (code === 'blocked') {
    said('rejected', 'blocked');
    return { outcome: 'rejected', reason: 'blocked' };
  }
  const win = {
    packet: `1-${c.wins.length + 1}`,
    wave: 1,
    user: userOf(code),
    amount: Math.floor(c.budget / c.packets),
    label: c.split.mode === 'tiers' ? c.split.tiers[0].label : null,
    claimed_at: iso(Date.now()),
    redeemed_at: null,
  };
  c.wins.push(win);
  said('won');
  return { outcome: 'won', packet: packet(win), claimed_at: win.claimed_at, repeated: false };
}

const userOf = (code) => `u-${Buffer.from(code).toString('hex').slice(0, 12)}`;
const codeOf = (request) => {
  const cookie = /hongbao_code=([^;]+)/.exec(request.headers.cookie ?? '')?.[1];
  if (!cookie) throw new Refusal(401, 'unauthenticated', 'log in first');
  return decodeURIComponent(cookie);
};
const campaignOf = (id) => {
  const campaign = campaigns.get(id);
  if (!campaign) throw new Refusal(404, 'no_such_campaign', 'there is no such campaign');
  return campaign;
};

function tell(c, name) {
  for (const response of listeners.get(c.id) ?? []) {
    response.write(`event: ${name}\ndata: ${JSON.stringify(publicView(c))}\n\n`);
  }
}

/** What is answered: `[status, body, headers]`; undefined when the answer is under way. */
async function answer(request, response, url, body) {
  const { method } = request;
  const path = url.pathname.split('/').filter(Boolean);
  const [service, ...rest] = path;
  if (service === 'account') {
    if (method === 'DELETE') return [204, null, { 'Set-Cookie': 'hongbao_code=; Max-Age=0; Path=/' }];
    const code = body.code.trim();
    if (code === 'unknown') throw new Refusal(401, 'unknown_code', 'this code is not known');
    const cookie = `hongbao_code=${encodeURIComponent(code)}; Path=/; HttpOnly`;
    const session = { token: 'x', user: userOf(code), expires_at: iso(Date.now() + 3_600_000) };
    return [200, session, { 'Set-Cookie': cookie }];
  }
  if (service === 'redpacket') {
    const [, id, what] = rest;
    if (!id) return [200, { campaigns: [...campaigns.values()].map(publicView) }];
    const c = campaignOf(id);
    if (what === 'grab') return [200, grab(c, codeOf(request), request.headers['grab-id'])];
    if (what === 'wins') {
      const user = userOf(codeOf(request));
      const wins = c.wins
        .filter((win) => win.user === user)
        .map((win) => ({
          packet: { id: win.packet, wave: 1, amount: win.amount, currency: c.currency, label: win.label },
          claimed_at: win.claimed_at,
          redeemed_at: win.redeemed_at,
        }));
      return [200, { wins }];
    }
    if (what === 'events') {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      response.write(`event: state\ndata: ${JSON.stringify(publicView(c))}\n\n`);
      const all = listeners.get(id) ?? new Set();
      listeners.set(id, all.add(response));
      request.on('close', () => all.delete(response));
      return undefined;
    }
    return [200, publicView(c)];
  }
  return monitorAnswer(method, rest.slice(1), url, body);
}

function monitorAnswer(method, [what, id, action, packet], url, body) {
  if (what === 'setup') {
    if (method === 'GET') return [200, { needed: organiser === null }];
    if (organiser !== null) throw new Refusal(409, 'already_set_up', 'set up already');
    if (body.token !== 'mock') throw new Refusal(403, 'wrong_setup_token', 'wrong token');
    organiser = body.username;
    return [201, { username: organiser }];
  }
  if (what === 'sessions' && method === 'POST') {
    if (body.username !== organiser) throw new Refusal(401, 'wrong_credentials', 'wrong');
    sessionOpen = true;
    return [200, { username: organiser }];
  }
  if (!sessionOpen) throw new Refusal(401, 'unauthenticated', 'log in first');
  if (what === 'sessions' && method === 'DELETE') {
    sessionOpen = false;
    return [204, null];
  }
  if (what === 'sessions') return [200, { username: organiser }];
  if (what === 'queue') return [200, { backend: 'mns', visible: 0, invisible: 0, exact: false }];
  if (what === 'packets') return [200, { campaigns: 1, issued: 40, queued: 12, leased: 3, claimed: 25 }];
  if (what === 'users') return usersAnswer(method, id, body);
  if (!id && method === 'POST') {
    if (body.title === 'refuse') throw new Refusal(400, 'invalid_field', '`split.total` is too small for 10 packets');
    return [201, organiserView(addCampaign(body.title, body))];
  }
  if (!id) return [200, { campaigns: [...campaigns.values()].reverse().map(organiserView), next_before: null }];
  const c = campaignOf(id);
  switch (action) {
    case undefined:
      if (method === 'PATCH') Object.assign(c, { title: body.title ?? c.title, rules: { ...c.rules, ...body.rules } });
      return [200, organiserView(c)];
    case 'live':
      return [200, live(c)];
    case 'stats':
      return [200, packet === 'log' ? logStats(c) : stats(c)];
    case 'audit':
      return [200, audit(c)];
    case 'qr.svg':
      return [200, QR, { 'Content-Type': 'image/svg+xml' }];
    case 'winners': {
      if (packet) {
        const win = c.wins.find((one) => one.packet === packet);
        const repeated = win.redeemed_at !== null;
        win.redeemed_at ??= iso(Date.now());
        return [200, { ...win, repeated }];
      }
      const code = url.searchParams.get('code');
      const q = url.searchParams.get('q') ?? '';
      const winners = c.wins.filter(
        (win) => (!code || win.user === userOf(code)) && (win.user.includes(q) || win.packet === q),
      );
      return [200, { winners, next_cursor: null }];
    }
    case 'pause':
    case 'resume':
      c.paused = action === 'pause';
      break;
    case 'close':
      c.closed = Date.now();
      break;
    case 'top-up':
      c.waves.push({ number: c.waves.length + 1, packets: body.packets, due: Date.now() });
      c.packets += body.packets;
      c.budget += body.total ?? 0;
      break;
    default:
      throw new Refusal(404, 'not_found', 'not found');
  }
  tell(c, c.closed ? 'ended' : 'state');
  return [200, organiserView(c)];
}

function usersAnswer(method, id, body) {
  if (method === 'DELETE') {
    users.delete(decodeURIComponent(id));
    return [204, null];
  }
  if (method === 'PUT') {
    for (const line of String(body).trim().split('\n').filter((l) => !l.startsWith('code'))) {
      const [, user, name] = line.split(',');
      users.set(user, { user, name: name ?? null, created_at: iso(Date.now()) });
    }
    return [200, { added: users.size, changed: 0 }];
  }
  return [200, { users: [...users.values()], total: users.size, next_cursor: null }];
}

const QR =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M1 1h3v3H1zM5 1h3v3H5zM1 5h3v3H1zM6 6h1v1H6z"/></svg>';

async function file(path) {
  const page = /^\/(webpage|monitor)(\/|$)/.exec(path)?.[1];
  const name = path.includes('/static/') ? normalize(path) : `${page}/index.html`;
  return { type: TYPES[extname(name)], content: await readFile(join(DIST, name)) };
}

async function handle(request, response) {
  const url = new URL(request.url, 'http://mock');
  const api = /^\/(account|redpacket|monitor\/api)\//.test(`${url.pathname}/`);
  let text = '';
  for await (const chunk of request) text += chunk;
  try {
    if (!api) {
      const { type, content } = await file(url.pathname);
      response.writeHead(200, { 'Content-Type': type, 'Content-Security-Policy': POLICY });
      response.end(content);
      return;
    }
    const json = (request.headers['content-type'] ?? '').startsWith('application/json');
    const answered = await answer(request, response, url, json ? JSON.parse(text) : text);
    if (!answered) return;
    const [status, body, headers = {}] = answered;
    response.writeHead(status, { 'Content-Type': 'application/json', ...headers });
    response.end(typeof body === 'string' ? body : body === null ? '' : JSON.stringify(body));
  } catch (error) {
    const { status = 404, code = 'not_found', message } = error;
    response.writeHead(status, { 'Content-Type': 'application/json', 'Retry-After': '1' });
    response.end(JSON.stringify({ error: { code, message, request_id: 'mock' } }));
  }
}

addCampaign('新年红包雨 New year rain', { packets: 10, batches: 3, interval_seconds: 3_600 });
addCampaign('即将开始的红包雨', { starts_at: iso(Date.now() + 95_000), packets: 1000, batches: 12 });
addCampaign('Prize rain', {
  packets: 111,
  batches: 1,
  split: {
    mode: 'tiers',
    tiers: [
      { label: '一等奖 First prize', count: 1, amount: 100_000 },
      { label: 'Second prize', count: 110, amount: 1_000 },
    ],
  },
});
addCampaign('Stopped by an audit', { halted: 'one claim has a wrong amount' });
addCampaign('Last week', {}).closed = Date.now();

const port = Number(process.argv[2] ?? 8080);
const server = createServer((request, response) => void handle(request, response));
server.listen(port, '127.0.0.1', () => {
  console.log(`mock listening on http://127.0.0.1:${server.address().port}/monitor#/setup?token=mock`);
});
