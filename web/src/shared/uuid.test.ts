import { expect, it } from 'vitest';

import { uuid } from './uuid.ts';

const FORM = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

it('makes UUIDs with and without crypto.randomUUID', () => {
  const insecure = { getRandomValues: crypto.getRandomValues.bind(crypto) } as Crypto;
  const made = Array.from({ length: 200 }, (_, i) => uuid(i % 2 === 0 ? crypto : insecure));
  for (const one of made) expect(one).toMatch(FORM);
  expect(new Set(made).size).toBe(made.length);
});
