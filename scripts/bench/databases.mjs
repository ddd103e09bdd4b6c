// Database servers for the benchmark, started and stopped by the tests' own kit.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/**
 * Starts `kind` (mariadb or postgres) with its usual, durable settings. `database()` makes an
 * empty database and gives its URL.
 */
export function startDatabase(kind, program) {
  const child = spawn(program, [kind], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ended = new Promise((resolve) => child.once('close', resolve));
  return {
    async database() {
      child.stdin.write('\n');
      const { value, done } = await lines.next();
      if (done) throw new Error(`${kind} did not come up`);
      return value;
    },
    stop() {
      child.stdin.end();
      return ended;
    },
  };
}
