// A `hongbao serve` of our own: started on free ports, asked as its organiser, stopped by its
// own process, never by name.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';

/** Whether nothing listens on this loopback port. */
function isFree(port) {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
}

/** The first free loopback port from `first` on that is not in `taken`. */
export async function freePort(first, taken = []) {
  for (let port = first; port < first + 200; port++) {
    if (!taken.includes(port) && (await isFree(port))) return port;
  }
  throw new Error(`no free port from ${first} to ${first + 199}`);
}

/**
 * Starts `binary serve` (or other `args`) with `env` over the environment, hands the process to `onStart`, and
 * waits until it says `listening`.
 * The result holds `url`, `pid`, `lines` (its standard output so far), `listeningMs`, `api`
 * and `stop`. Throws with its output when it ends instead.
 */
export async function startServer(binary, env, onStart, args = ['serve']) {
  const key = env.HONGBAO_ORGANISER_KEY ?? randomBytes(32).toString('hex');
  const started = performance.now();
  // A group of its own, so that Ctrl-C reaches us alone and the server is drained in order.
  const child = spawn(binary, args, {
    env: { ...process.env, HONGBAO_LOG: 'warn', ...env, HONGBAO_ORGANISER_KEY: key },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  onStart?.(child);
  const lines = [];
  const errors = [];
  const ended = new Promise((resolve) => child.once('close', (code, signal) => resolve(code ?? signal)));
  createInterface({ input: child.stderr }).on('line', (line) => {
    errors.push(line);
    if (errors.length > 1000) errors.shift();
  });
  const address = await new Promise((resolve, reject) => {
    child.once('error', reject);
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (lines.length < 1000) lines.push(line);
      const found = line.includes('listening') && line.match(/127\.0\.0\.1:\d+/);
      if (found) resolve(found[0]);
    });
    ended.then((how) => {
      const error = new Error(`the server ended with ${how}:\n${[...lines, ...errors].join('\n')}`);
      error.output = [...lines, ...errors].join('\n');
      reject(error);
    });
  });
  const listeningMs = performance.now() - started;
  const url = `http://${address}`;
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    return ended;
  };
  return { url, pid: child.pid, lines, errors, listeningMs, key, stop, ended, api: organiser(url, key) };
}

/** The organiser's calls on `url`; each throws with the server's words when it is refused. */
function organiser(url, key) {
  return async (method, path, body, headers = {}) => {
    const response = await fetch(`${url}/monitor/api${path}`, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) {
      throw new Error(`${method} ${path}: ${response.status} ${answer.error?.message ?? ''}`);
    }
    return answer;
  };
}

/** Runs a command with our terminal, and gives its exit code. */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'], ...options });
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 1));
    options.onStart?.(child);
  });
}

/** Waits. */
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
