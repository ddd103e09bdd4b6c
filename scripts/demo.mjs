// `make demo`: a real rain on this machine. Starts a server, issues the mission's own example
// and then a bigger rain, audits both, and keeps serving until Ctrl-C. With ONCE=1 it ends by
// itself, with exit code 0 only when both audits balanced.
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { freePort, run, sleep, startServer } from './lib/server.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const binary = process.env.HONGBAO_BIN ?? join(root, 'target/release/hongbao');
const once = !['', '0', undefined].includes(process.env.ONCE);

const EXAMPLE = {
  title: 'Ten packets in three batches',
  packets: 10,
  batches: 3,
  interval_seconds: 2,
  currency: 'CNY',
  split: { mode: 'lucky', total: 10_000, min: 1, max: null },
};
const BIGGER = {
  title: 'A hundred thousand packets',
  packets: 100_000,
  batches: 5,
  interval_seconds: 3,
  currency: 'CNY',
  split: { mode: 'lucky', total: 50_000_000, min: 1, max: null },
  win_limit: { count: 10, per: 'campaign' },
};
const YOURS = {
  title: 'Yours to grab',
  packets: 300,
  batches: 30,
  interval_seconds: 20,
  currency: 'CNY',
  split: { mode: 'lucky', total: 300_000, min: 1, max: null },
  win_limit: { count: 1, per: 'wave' },
};

let server;
let starting;
let crowd;
let stopping = false;

async function stop(code) {
  if (stopping) return;
  stopping = true;
  crowd?.kill('SIGTERM');
  if (!server) starting?.kill('SIGTERM');
  if (server) {
    console.log('\nStopping the server …');
    const how = await server.stop();
    if (how !== 0) {
      console.error(`the server ended with ${how}:\n${server.errors.join('\n')}`);
      code = code || 1;
    }
  }
  process.exit(code);
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  // Ctrl-C while it serves is how the demo is meant to end; before that it is a break.
  process.on(signal, () => stop(served ? 0 : 130));
}
let served = false;

function heading(text) {
  console.log(`\n── ${text} ${'─'.repeat(Math.max(0, 74 - text.length))}`);
}

/** The organiser's key that is kept in `data`, where `hongbao campaign` looks for it. */
function organiserKey(data) {
  const file = join(data, 'organiser.key');
  if (!existsSync(file)) {
    mkdirSync(data, { recursive: true, mode: 0o700 });
    writeFileSync(file, `${randomBytes(32).toString('hex')}\n`, { mode: 0o600 });
  }
  return readFileSync(file, 'utf8').trim();
}

/** A server on the data directory `env` names, and that directory. */
async function serve(env) {
  const data = env.HONGBAO_DATA_DIR;
  const told = { ...env, HONGBAO_ORGANISER_KEY: organiserKey(data) };
  return { server: await startServer(binary, told, (child) => (starting = child)), data };
}

async function start() {
  const port = await freePort(8080);
  const env = {
    HONGBAO_LISTEN: process.env.HONGBAO_LISTEN ?? `127.0.0.1:${port}`,
    HONGBAO_ADMIN_LISTEN: process.env.HONGBAO_ADMIN_LISTEN ?? `127.0.0.1:${await freePort(9090, [port])}`,
    HONGBAO_DATA_DIR: process.env.HONGBAO_DATA_DIR ?? join(root, 'data'),
  };
  if (port !== 8080 && !process.env.HONGBAO_LISTEN) {
    console.log(`Port 8080 is in use; taking ${port}.`);
  }
  const wasThere = existsSync(env.HONGBAO_DATA_DIR);
  try {
    return await serve(env);
  } catch (error) {
    if (process.env.HONGBAO_DATA_DIR || !wasThere) throw error;
    // Most likely another server has the directory open; its rain is not ours to disturb.
    console.log(`${env.HONGBAO_DATA_DIR} cannot be used:\n${error.output ?? error.message}`);
    mkdirSync(join(root, 'target/demo'), { recursive: true });
    env.HONGBAO_DATA_DIR = mkdtempSync(join(root, 'target/demo/data-'));
    console.log(`Taking a fresh one: ${env.HONGBAO_DATA_DIR}`);
    return await serve(env);
  }
}

const money = (fen, currency = 'CNY') =>
  new Intl.NumberFormat('en', { style: 'currency', currency, currencyDisplay: 'narrowSymbol' }).format(fen / 100);

/** Issues a campaign, sends a crowd, shows winners and audit; gives whether the books balance. */
async function rain(terms, users, rate, seconds) {
  const campaign = await server.api('POST', '/campaigns', terms);
  console.log(
    `Issued ${terms.packets} packets worth ${money(terms.split.total)} in ${terms.batches} batches, ` +
      `${terms.interval_seconds} s apart; ${users} users tap ${rate} times a second.\n`,
  );
  const exit = await run(
    binary,
    ['crowd', '--url', server.url, '--campaign', campaign.id, '--users', users, '--rate', rate, '--for', seconds].map(String),
    { env: { ...process.env, HONGBAO_ORGANISER_KEY: server.key }, onStart: (child) => (crowd = child) },
  );
  crowd = undefined;
  // Whoever stops the demo ends the process; there is nothing more to show.
  if (stopping) await new Promise(() => {});

  const { winners } = await server.api('GET', `/campaigns/${campaign.id}/winners`);
  console.log('\nThe first winners:');
  for (const winner of winners.slice(0, 5)) {
    console.log(`  ${winner.packet.padEnd(8)} ${money(winner.amount).padStart(10)}  ${winner.user}`);
  }
  const audit = await server.api('GET', `/campaigns/${campaign.id}/audit`);
  console.log(
    `The audit: ${money(audit.claimed)} claimed + ${money(audit.unclaimed)} unclaimed + ` +
      `${money(audit.refunded)} refunded = ${money(audit.claimed + audit.unclaimed + audit.refunded)} ` +
      `of ${money(audit.budget)}: ${audit.balanced ? 'balanced' : 'NOT BALANCED'}`,
  );
  if (exit !== 0) console.log(`The crowd found something wrong (exit code ${exit}).`);
  return exit === 0 && audit.balanced === true;
}

async function main() {
  const started = await start();
  server = started.server;
  server.ended.then((how) => {
    if (!stopping) {
      console.error(`the server ended with ${how}:\n${server.errors.join('\n')}`);
      process.exit(1);
    }
  });
  heading('Hongbao');
  console.log(server.lines.join('\n'));

  heading('The example: 10 packets in 3 batches, 2 seconds apart');
  const example = await rain(EXAMPLE, 30, 10, 8);
  heading('A bigger rain: 100,000 packets, 20,000 users');
  const bigger = await rain(BIGGER, 20_000, Number(process.env.RATE ?? 4_000), 60);

  if (once) return stop(example && bigger ? 0 : 1);

  const yours = await server.api('POST', '/campaigns', YOURS);
  const setup = server.lines.join('\n').match(/https?:\/\/\S*setup\S*/)?.[0];
  heading('Now you');
  console.log(`Grab:           ${server.url}/webpage?c=${yours.id}  (any code; ten packets every 20 seconds)`);
  console.log(`Organise:       ${server.url}/monitor`);
  if (setup) console.log(`First organiser: ${setup}`);
  console.log(`API:            ${server.url}/docs`);
  console.log(`From a shell:   ${binary} campaign list --url ${server.url} --data-dir ${started.data}`);
  console.log(`Data:           ${started.data}`);
  console.log('\nServing until Ctrl-C.');
  served = true;
  await sleep(2 ** 31 - 1);
}

main().catch(async (error) => {
  if (stopping) return;
  console.error(`demo: ${error.message}`);
  await stop(1);
});
