// `make bench`: our grabs beside nginx's static answer and a bare inserter, in the same run on
// the same machine, in turn. Prints Markdown, and keeps it in target/bench/.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { freePort, sleep, startServer } from '../lib/server.mjs';
import { startDatabase } from './databases.mjs';
import { idleStreams } from './idle.mjs';
import { figures, median, setting, table } from './report.mjs';
import { cpuSeconds, memoryMb, startNginx, writeTokens, wrk } from './tools.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const quick = !['', '0', undefined].includes(process.env.QUICK);
const rounds = quick ? 2 : 5;
const seconds = quick ? 2 : 5;
const winTokens = quick ? 150_000 : 500_000;
const idleCount = quick ? 1_000 : 10_000;
const starts = quick ? 2 : 5;
/** Only the contenders whose ids match, such as `ONLY='^(lose|ship) '`, and none of the figures. */
const only = process.env.ONLY ? new RegExp(process.env.ONLY) : undefined;
const bigCampaign = 1_000_000;
const losers = 10_000;
/** What we serve with, and nginx: a thread or a worker for each core. */
const threads = availableParallelism();

const secret = 'a-token-secret-of-the-benchmark-only';
const out = join(root, 'target/bench');
/** Another run may be under way. */
const work = join(out, `work-${process.pid}`);
const binary = join(root, 'target/release/hongbao');
const bareInsert = join(root, 'target/release/examples/bare_insert');
const databaseServer = join(root, 'target/release/examples/database');
/** The databases that the ledger can be on, besides SQLite. */
const databases = { mariadb: 'MariaDB', postgres: 'PostgreSQL' };

const say = (text) => console.error(`bench: ${text}`);

/** A server on a data directory of its own; `more`: further settings. */
async function serve(name, more = {}) {
  const port = await freePort(18_080);
  return startServer(binary, {
    HONGBAO_LISTEN: `127.0.0.1:${port}`,
    HONGBAO_ADMIN_LISTEN: `127.0.0.1:${await freePort(19_090, [port])}`,
    HONGBAO_DATA_DIR: join(work, name),
    HONGBAO_TOKEN_SECRET: secret,
    HONGBAO_THREADS: String(threads),
    ...more,
  });
}

/** The offline SLS, and a server that ships its log there. */
async function serveShipping() {
  const sls = await freePort(17_500);
  const listen = ['--listen', `127.0.0.1:${await freePort(17_600)}`, '--sls-listen', `127.0.0.1:${sls}`];
  const cloud = await startServer(binary, {}, undefined, ['aliyun', ...listen]);
  const server = await serve('shipping', {
    HONGBAO_SLS_ENDPOINT: `http://127.0.0.1:${sls}`,
    HONGBAO_SLS_PROJECT: 'bench',
    ACCESS_KEY_ID: 'testid',
    ACCESS_KEY_SECRET: 'testsecret',
  });
  return { cloud, server };
}

const terms = (packets) => ({
  title: 'Benchmark', packets, batches: 1, interval_seconds: 0, currency: 'CNY',
  split: { mode: 'equal', amount: 100 },
});

async function grab(server, campaign, token) {
  const response = await fetch(`${server.url}/redpacket/campaigns/${campaign}/grab`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
  });
  return response.text();
}

/** A sold-out campaign and the body of its "no". */
async function soldOut(server, winner, loser) {
  const { id } = await server.api('POST', '/campaigns', terms(1));
  const won = await grab(server, id, winner);
  if (!won.includes('"won"')) throw new Error(`the only packet was not won: ${won}`);
  const body = await grab(server, id, loser);
  if (!body.includes('"sold_out"')) throw new Error(`not sold out: ${body}`);
  return { id, body, path: `/redpacket/campaigns/${id}/grab` };
}

/** Every request another user's, all win: wins per second by the ledger's own count. */
async function wins(connections, tokens, database) {
  rmSync(join(work, 'wins'), { recursive: true, force: true });
  const server = await serve('wins', database ? { HONGBAO_DATABASE_URL: database } : {});
  try {
    const { id } = await server.api('POST', '/campaigns', terms(winTokens));
    const run = wrk(server, {
      seconds, connections, method: 'POST', path: `/redpacket/campaigns/${id}/grab`,
      tokens, count: winTokens, once: true,
    });
    const peakMb = memoryMb(server.pid, 'VmHWM');
    const audit = await server.api('GET', `/campaigns/${id}/audit`);
    const claimed = audit.packets.claimed;
    if (!audit.balanced) throw new Error(`the books do not balance: ${JSON.stringify(audit)}`);
    // wrk hangs up on the asks that are under way at its end: those wins nobody counted.
    if (claimed > run.requests + connections || claimed < run.requests) {
      throw new Error(`${run.requests} answers but ${claimed} claims: some did not win, or tokens ran out`);
    }
    return { ...run, peakMb };
  } finally {
    await server.stop();
  }
}

/** The same rows into the same schema, one thread, in batches of 256; `where`: a folder or a URL. */
function bare(where, rows) {
  const result = spawnSync(bareInsert, [where, String(rows), '256'], { encoding: 'utf8' });
  const rate = result.stdout.match(/(\d+) rows\/s/)?.[1];
  if (!rate) throw new Error(`bare_insert: ${result.stdout}${result.stderr}`);
  return { perSecond: Number(rate) };
}

function bareSqlite() {
  const folder = join(work, 'bare');
  rmSync(folder, { recursive: true, force: true });
  return bare(folder, quick ? 51_200 : 204_800);
}

function contenders(server, nginx, lost, shipping, tokens, servers) {
  const rows = [];
  const add = (row) => rows.push({ ...row, runs: [] });
  const same = { method: 'POST', path: lost.path, tokens, count: losers };
  for (const depth of [1, 16]) {
    for (const connections of [64, 256]) {
      const load = { seconds, connections, depth };
      const at = `${connections}/${depth}`;
      add({
        id: `get ${at}`, short: 'nginx, plain GET', name: 'nginx `return 200`, plain GET', connections, depth,
        once: () => wrk(nginx, { ...load, method: 'GET', path: '/' }), of: nginx,
      });
      add({
        id: `nginx ${at}`, short: 'nginx', name: 'nginx `return 200`, our requests', connections, depth,
        once: () => wrk(nginx, { ...load, ...same }), of: nginx,
      });
      add({
        id: `lose ${at}`, short: 'losing', name: '**losing grab**', connections, depth, against: `get ${at}`,
        once: () => wrk(server, { ...load, ...same }), of: server,
      });
      add({
        id: `ship ${at}`, short: 'shipping', name: 'losing grab, the log shipped to SLS', connections, depth, against: `lose ${at}`,
        once: () => wrk(shipping.server, { ...load, ...same, path: shipping.lost.path }), of: shipping.server,
      });
    }
  }
  add({ id: 'bare', short: 'bare', name: 'bare inserter, batches of 256', once: bareSqlite });
  for (const connections of [64, 256]) {
    add({
      id: `win ${connections}`, name: '**durable win**', connections, depth: 1, against: 'bare',
      once: () => wins(connections, tokens),
    });
  }
  for (const [kind, name] of Object.entries(databases)) {
    const database = () => servers[kind].database();
    add({
      id: `bare ${kind}`, short: 'bare', name: `bare inserter on ${name}, batches of 256`,
      once: async () => bare(await database(), quick ? 20_480 : 102_400),
    });
    for (const connections of [256, 1_024]) {
      add({
        id: `win ${kind} ${connections}`, name: `**durable win** on ${name}`, connections, depth: 1, against: `bare ${kind}`,
        once: async () => wins(connections, tokens, await database()),
      });
    }
  }
  return rows;
}

async function compare(tokens, all) {
  const server = await serve('losing');
  const lost = await soldOut(server, all.at(-1), all[0]);
  const shipping = await serveShipping();
  shipping.lost = await soldOut(shipping.server, all.at(-1), all[0]);
  const measured = Object.keys(databases).filter((kind) => !only || only.test(`win ${kind}`));
  const servers = Object.fromEntries(measured.map((kind) => [kind, startDatabase(kind, databaseServer)]));
  const nginx = await startNginx(join(work, 'nginx'), await freePort(17_000), threads, lost.body);
  try {
    const every = contenders(server, nginx, lost, shipping, tokens, servers);
    const rows = every.filter((row) => !only || only.test(row.id));
    for (let round = 1; round <= rounds; round++) {
      say(`round ${round} of ${rounds}`);
      for (const row of rows) {
        row.runs.push(await row.once());
        if (row.of) row.peakMb = memoryMb(row.of.pid, 'VmHWM');
        await sleep(200);
      }
    }
    if (only) return { rows };
    say(`${idleCount} idle event streams`);
    const idle = await idleStreams(server, lost.id, idleCount);
    return { rows, idle };
  } finally {
    await nginx.stop();
    await server.stop();
    await shipping.server.stop();
    await shipping.cloud.stop();
    await Promise.all(Object.values(servers).map((each) => each.stop()));
  }
}

/** Milliseconds to `listening` on the data directory `name`, over several starts. */
async function startTimes(name, fresh) {
  const times = [];
  for (let n = 0; n < starts; n++) {
    if (fresh) rmSync(join(work, name), { recursive: true, force: true });
    const server = await serve(name);
    times.push(server.listeningMs);
    await server.stop();
  }
  return times;
}

async function startAndSize(tokens) {
  say('start and memory');
  const idleServer = await serve('idle');
  await sleep(quick ? 2000 : 10_000);
  const idleMb = memoryMb(idleServer.pid, 'VmRSS');
  const idleCpu = cpuSeconds(idleServer.pid);
  await sleep(5000);
  const idleCpuShare = (cpuSeconds(idleServer.pid) - idleCpu) / 5;
  await idleServer.stop();
  const empty = await startTimes('empty', true);

  say(`a campaign of ${bigCampaign.toLocaleString('en')} packets, half of them claimed`);
  const server = await serve('big');
  const began = performance.now();
  const { id } = await server.api('POST', '/campaigns', terms(bigCampaign));
  const createMs = performance.now() - began;
  let claimed = 0;
  // wrk tries the script once beforehand, which uses a token up.
  while (claimed < Math.min(winTokens, bigCampaign / 2) - 2) {
    wrk(server, {
      seconds: 10, connections: 256, method: 'POST', path: `/redpacket/campaigns/${id}/grab`,
      tokens, count: winTokens, once: true,
    });
    const now = (await server.api('GET', `/campaigns/${id}/live`)).claimed;
    if (now === claimed) break;
    claimed = now;
  }
  await server.stop();
  const big = await startTimes('big', false);
  return { idleMb, idleCpuShare, empty, createMs, claimed, big };
}

async function main() {
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  say(`minting ${winTokens.toLocaleString('en')} tokens`);
  const tokens = join(work, 'tokens');
  const all = writeTokens(tokens, winTokens, secret);
  const { rows, idle } = await compare(tokens, all);
  if (only) {
    rmSync(work, { recursive: true, force: true });
    console.log(`\n${setting(rounds, seconds)}\n\n${table(rows)}`);
    return;
  }
  const rest = await startAndSize(tokens);

  const of = (id) => median(rows.find((row) => row.id === id).runs.map((run) => run.perSecond));
  const times = (list) => `${Math.round(median(list))} ms (${Math.round(Math.min(...list))}–${Math.round(Math.max(...list))})`;
  const ratio = (a, b) => `${(of(a) / of(b)).toFixed(2)} ×`;
  const markdown = [
    setting(rounds, seconds),
    table(rows),
    figures([
      { name: 'losing grabs against nginx, plain GET, 64 connections', value: ratio('lose 64/1', 'get 64/1'), aim: '≥ 1.0 ×' },
      { name: 'losing grabs against nginx, plain GET, 256 connections', value: ratio('lose 256/1', 'get 256/1'), aim: '≥ 1.0 ×' },
      { name: 'the same against nginx with our requests', value: `${ratio('lose 64/1', 'nginx 64/1')} and ${ratio('lose 256/1', 'nginx 256/1')}` },
      { name: 'losing grabs against nginx, plain GET, depth 16, 64 connections', value: ratio('lose 64/16', 'get 64/16'), aim: '≥ 4 ×' },
      { name: 'losing grabs against nginx, plain GET, depth 16, 256 connections', value: ratio('lose 256/16', 'get 256/16'), aim: '≥ 4 ×' },
      { name: 'the same against nginx with our requests', value: `${ratio('lose 64/16', 'nginx 64/16')} and ${ratio('lose 256/16', 'nginx 256/16')}` },
      { name: 'losing grabs with the log shipped to SLS against without, 64 connections', value: ratio('ship 64/1', 'lose 64/1'), aim: '≥ 0.97 ×' },
      { name: 'losing grabs with the log shipped to SLS against without, 256 connections', value: ratio('ship 256/1', 'lose 256/1'), aim: '≥ 0.97 ×' },
      { name: 'durable wins against the bare inserter, 256 connections', value: ratio('win 256', 'bare'), aim: '≥ 0.5 ×' },
      { name: 'durable wins against losing grabs, 256 connections', value: ratio('win 256', 'lose 256/1') },
      ...Object.entries(databases).flatMap(([kind, name]) => [256, 1_024].map((connections) => (
        { name: `durable wins on ${name} against its bare inserter, ${connections.toLocaleString('en')} connections`, value: ratio(`win ${kind} ${connections}`, `bare ${kind}`), aim: '≥ 0.5 ×' }
      ))),
      { name: `memory of an idle event stream (${idle.count.toLocaleString('en')} of them)`, value: `${idle.kilobytesEach.toFixed(1)} KB` },
      { name: 'memory of an idle `serve`', value: `${rest.idleMb.toFixed(0)} MB`, aim: '< 64 MB' },
      { name: 'CPU of an idle `serve`', value: `${(rest.idleCpuShare * 100).toFixed(1)} % of a core` },
      { name: 'start to `listening`, empty', value: times(rest.empty), aim: '< 1 s' },
      { name: `start to \`listening\`, 1,000,000 packets, ${rest.claimed.toLocaleString('en')} claimed`, value: times(rest.big), aim: '< 3 s' },
      { name: 'creating a campaign of 1,000,000 packets', value: `${Math.round(rest.createMs)} ms`, aim: '< 3 s' },
    ]),
  ].join('\n\n');

  writeFileSync(join(out, 'latest.md'), `${markdown}\n`);
  writeFileSync(join(out, `${new Date().toISOString().slice(0, 19).replaceAll(':', '')}.md`), `${markdown}\n`);
  if (!['', '0', undefined].includes(process.env.SAVE)) {
    const document = join(root, 'docs/performance.md');
    const [before] = readFileSync(document, 'utf8').split('<!-- the last run -->');
    writeFileSync(document, `${before}<!-- the last run -->\n\n${markdown}\n`);
  }
  rmSync(work, { recursive: true, force: true });
  console.log(`\n${markdown}`);
}

await main();
