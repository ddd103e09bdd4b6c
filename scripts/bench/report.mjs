// The measurements as Markdown.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';

/** The middle one; of an even number, the mean of the two. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const whole = (value) => Math.round(value).toLocaleString('en');
const digits = (value, count) => (value === undefined ? '–' : value.toFixed(count));

function version(command, args, pattern) {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).match(pattern)?.[0] ?? '?';
  } catch {
    return '?';
  }
}

/** Where and how it was measured. */
export function setting(rounds, seconds) {
  const mib = totalmem() / 2 ** 20;
  const revision = version('git', ['rev-parse', '--short', 'HEAD'], /\w+/);
  const rustc = version('rustc', ['--version'], /[\d.]+/);
  const wrk = readFileSync('/proc/version', 'utf8').split(' ')[0];
  return (
    `Measured ${new Date().toISOString().slice(0, 10)} at revision ${revision} (rustc ${rustc}): ` +
    `${cpus().length} × ${cpus()[0].model.trim()}, ${Math.round(mib / 1024)} GiB, ${wrk} ${release()}; ` +
    `server, wrk and nginx on the same cores, loopback; ${rounds} rounds of ${seconds} s each, contenders in turn. ` +
    'Rates are medians (lowest–highest).'
  );
}

/**
 * One line for each contender. `rows` holds {name, connections, depth, runs, against?}; a ratio
 * is that of the medians.
 */
export function table(rows) {
  const rate = (row) => median(row.runs.map((run) => run.perSecond));
  const lines = [
    '| contender | connections | depth | per second | ratio | p99, ms | CPU, µs each | peak memory, MB |',
    '|---|--:|--:|--:|--:|--:|--:|--:|',
  ];
  for (const row of rows) {
    const rates = row.runs.map((run) => run.perSecond);
    const of = (field) => {
      const values = row.runs.map((run) => run[field]).filter((value) => value !== undefined);
      return values.length ? median(values) : undefined;
    };
    const against = rows.find((other) => other.id === row.against);
    const ratio = against ? `${digits(rate(row) / rate(against), 2)} × ${against.short}` : '';
    lines.push(
      `| ${row.name} | ${row.connections ?? '–'} | ${row.depth ?? '–'} | ` +
        `${whole(rate(row))} (${whole(Math.min(...rates))}–${whole(Math.max(...rates))}) | ${ratio} | ` +
        `${digits(of('p99Ms'), 2)} | ${digits(of('cpuMicros'), 1)} | ${digits(row.peakMb ?? of('peakMb'), 0)} |`,
    );
  }
  return lines.join('\n');
}

/** Single figures, each with what it was to reach. */
export function figures(list) {
  const lines = ['| figure | measured | aim |', '|---|--:|--:|'];
  for (const { name, value, aim } of list) lines.push(`| ${name} | ${value} | ${aim ?? ''} |`);
  return lines.join('\n');
}
