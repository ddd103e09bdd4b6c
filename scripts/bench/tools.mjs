// What the benchmark measures with: wrk, nginx, /proc, and tokens minted with the server's
// secret.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { sleep } from '../lib/server.mjs';

const here = dirname(fileURLToPath(import.meta.url));

/** The clock ticks that /proc counts CPU time in. */
const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** A file of `count` tokens of users of their own, one a line. */
export function writeTokens(file, count, secret) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const head = encode({ alg: 'HS256', typ: 'JWT' });
  const now = Math.floor(Date.now() / 1000);
  const lines = [];
  for (let n = 1; n <= count; n++) {
    const claims = encode({ sub: `user-${n}`, aud: 'hongbao', iat: now, exp: now + 80_000 });
    const signed = `${head}.${claims}`;
    lines.push(`${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`);
  }
  writeFileSync(file, lines.join('\n') + '\n');
  return lines;
}

/** `pid` and all below it. */
function family(pid) {
  const children = new Map();
  for (const name of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const stat = readStat(name);
    if (stat) children.set(stat.parent, [...(children.get(stat.parent) ?? []), Number(name)]);
  }
  const all = [pid];
  for (let i = 0; i < all.length; i++) all.push(...(children.get(all[i]) ?? []));
  return all;
}

function readStat(pid) {
  let text;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined; // It has ended.
  }
  // The name in brackets may hold blanks.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) };
}

/** CPU seconds, user and system, that `pid` and its children have used. */
export function cpuSeconds(pid) {
  return family(pid).reduce((sum, each) => sum + (readStat(each)?.ticks ?? 0), 0) / TICKS_PER_SECOND;
}

/** Megabytes of `pid` and its children by /proc's `field`: VmRSS (now) or VmHWM (the peak). */
export function memoryMb(pid, field) {
  const kilobytes = family(pid).map((each) => {
    const status = readFileSync(`/proc/${each}/status`, 'utf8');
    return Number(status.match(new RegExp(`${field}:\\s+(\\d+)`))?.[1] ?? 0);
  });
  return kilobytes.reduce((sum, each) => sum + each, 0) / 1024;
}

/** nginx with a static answer of `body` on `port`, with as many workers as we have threads. */
export async function startNginx(folder, port, workers, body) {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'nginx.conf');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  writeFileSync(
    file,
    `daemon off; worker_processes ${workers}; pid ${folder}/nginx.pid; error_log ${folder}/error.log;
events { worker_connections 4096; }
http {
  access_log off; keepalive_timeout 600s; keepalive_requests 1000000000;
  ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join(' ')}
  server { listen 127.0.0.1:${port} backlog=4096; location / { default_type application/json; return 200 '${body}'; } }
}
`,
  );
  const child = spawn('nginx', ['-c', file], { stdio: 'inherit' });
  const ended = new Promise((resolve) => child.once('close', resolve));
  const url = `http://127.0.0.1:${port}`;
  for (let tries = 0; ; tries++) {
    const answer = await fetch(url).then((response) => response.text(), () => undefined);
    if (answer === body) break;
    if (tries === 100) throw new Error('nginx did not start');
    await sleep(50);
  }
  return { url, pid: child.pid, stop: () => (child.kill('SIGTERM'), ended) };
}

/**
 * Runs wrk for `seconds` with `connections` against `target` ({url, pid}), each request from
 * grab.lua: requests per second, p99 in milliseconds, CPU µs of the target a request.
 */
export function wrk(target, { seconds, connections, method, path, tokens = '-', count = 0, depth = 1, once = false }) {
  const threads = 2;
  const before = cpuSeconds(target.pid);
  const args = [
    `-t${threads}`, `-c${connections}`, `-d${seconds}s`, '--latency', '--timeout', '10s',
    '-s', join(here, 'grab.lua'), target.url, '--',
    method, path, tokens, count, depth, once ? 1 : 0, threads,
  ];
  const result = spawnSync('wrk', args.map(String), { encoding: 'utf8', maxBuffer: 1 << 20 });
  const cpu = cpuSeconds(target.pid) - before;
  const text = result.stdout + result.stderr;
  const find = (pattern) => text.match(pattern)?.slice(1);
  const [requests, took, unit] = find(/(\d+) requests in ([\d.]+)(s|m)/) ?? [];
  if (result.status !== 0 || !requests) throw new Error(`wrk: ${text}`);
  const refused = find(/Non-2xx or 3xx responses: (\d+)/)?.[0];
  const [connect, read, write, late] = find(/connect (\d+), read (\d+), write (\d+), timeout (\d+)/)?.map(Number) ?? [];
  if (refused || connect || read || write) throw new Error(`wrk ${path}: ${text}`);
  if (late) console.error(`bench: ${late} answers to ${path} took over 10 s`);
  const [p99, p99Unit] = find(/99%\s+([\d.]+)(us|ms|s|m)/);
  const milliseconds = { us: 0.001, ms: 1, s: 1000, m: 60_000 };
  const tookSeconds = Number(took) * milliseconds[unit] / 1000;
  return {
    requests: Number(requests),
    seconds: tookSeconds,
    perSecond: Number(requests) / tookSeconds,
    p99Ms: Number(p99) * milliseconds[p99Unit],
    cpuMicros: (cpu / Number(requests)) * 1e6,
  };
}
