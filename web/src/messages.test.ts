import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..');
const read = (locale: string): Record<string, string> =>
  JSON.parse(readFileSync(join(ROOT, 'messages', `${locale}.json`), 'utf8'));

const holes = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort();

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return entry.name === 'paraglide' ? [] : sources(path);
    return /\.(svelte|ts)$/.test(entry.name) ? [readFileSync(path, 'utf8')] : [];
  });
}

it('says everything in both languages, with the same figures', () => {
  const en = read('en');
  const zh = read('zh');
  expect(Object.keys(zh).sort()).toEqual(Object.keys(en).sort());
  for (const [key, text] of Object.entries(en)) {
    expect(holes(zh[key] ?? ''), key).toEqual(holes(text));
  }
});

it('has no message that no page uses', () => {
  const used = new Set(
    sources(join(ROOT, 'src')).flatMap((text) =>
      [...text.matchAll(/\bm\.([a-z]_\w+)/g)].map((match) => match[1]),
    ),
  );
  expect(Object.keys(read('en')).filter((key) => !used.has(key))).toEqual([]);
});
