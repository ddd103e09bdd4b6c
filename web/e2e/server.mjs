/**
 * The server under test: one that is given, or a fresh one on a free port in a temporary folder,
 * which ships its log to an offline SLS beside it.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const START_MS_MAX = 30_000;
const STOP_MS_MAX = 15_000;

/**
 * From the environment: `HONGBAO_URL` with `HONGBAO_SETUP_TOKEN`, or with `HONGBAO_USERNAME`
 * and `HONGBAO_PASSWORD` when the first organiser exists; else `HONGBAO_BIN`, by default this
 * work tree's debug build, is started.
 */
export async function openServer() {
  const url = process.env.HONGBAO_URL;
  if (url) {
    return {
      url: url.replace(/\/$/, ''),
      setupToken: process.env.HONGBAO_SETUP_TOKEN ?? null,
      username: process.env.HONGBAO_USERNAME ?? 'organiser',
      password: process.env.HONGBAO_PASSWORD ?? 'correct horse battery',
      fresh: false,
      stop: async () => {},
    };
  }
  const built = fileURLToPath(new URL('../../target/debug/hongbao', import.meta.url));
  const binary = resolve(process.env.HONGBAO_BIN ?? built);
  if (!existsSync(binary)) throw new Error(`there is no ${binary}: set HONGBAO_BIN or HONGBAO_URL`);
  return start(binary);
}

async function start(binary) {
  const folder = await mkdtemp(join(tmpdir(), 'hongbao-e2e-'));
  const [port, admin, inner] = [await freePort(), await freePort(), await freePort()];
  const [mns, sls] = [await freePort(), await freePort()];
  const cloud = spawn(
    binary,
    ['aliyun', '--listen', `127.0.0.1:${mns}`, '--sls-listen', `127.0.0.1:${sls}`],
    { cwd: folder, stdio: 'ignore', env: { PATH: process.env.PATH } },
  );
  const child = spawn(binary, ['serve'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH,
      HONGBAO_SLS_ENDPOINT: `http://127.0.0.1:${sls}`,
      HONGBAO_SLS_PROJECT: 'pages',
      ACCESS_KEY_ID: 'testid',
      ACCESS_KEY_SECRET: 'testsecret',
      HONGBAO_LISTEN: `127.0.0.1:${port}`,
      HONGBAO_ADMIN_LISTEN: `127.0.0.1:${admin}`,
      HONGBAO_INNER_LISTEN: `127.0.0.1:${inner}`,
      HONGBAO_DATA_DIR: join(folder, 'data'),
    },
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const stop = async () => {
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX);
    const code = await ended;
    clearTimeout(late);
    cloud.kill('SIGTERM');
    await rm(folder, { recursive: true, force: true });
    if (code !== 0) throw new Error(`the server ended with ${code} when asked to stop`);
  };
  try {
    const setupToken = await untilListening(child, ended);
    return {
      url: `http://127.0.0.1:${port}`,
      setupToken,
      username: 'organiser',
      password: 'correct horse battery',
      fresh: true,
      stop,
    };
  } catch (error) {
    child.kill('SIGKILL');
    cloud.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

/** Reads the server's words until it listens; what comes after is kept flowing, unread. */
function untilListening(child, ended) {
  const said = [];
  let token = null;
  return new Promise((resolve, reject) => {
    const fail = (why) => reject(new Error(`${why}; it said:\n${said.join('\n')}`));
    const timer = setTimeout(() => fail('the server does not listen'), START_MS_MAX);
    const hear = (line) => {
      said.push(line);
      token ??= /setup\?token=([^\s&]+)/.exec(line)?.[1] ?? null;
      if (!/\blistening\b/.test(line)) return;
      clearTimeout(timer);
      resolve(token);
    };
    createInterface({ input: child.stdout }).on('line', hear);
    createInterface({ input: child.stderr }).on('line', (line) => said.push(line));
    void ended.then((code) => {
      clearTimeout(timer);
      fail(`the server ended with ${code}`);
    });
  });
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}
