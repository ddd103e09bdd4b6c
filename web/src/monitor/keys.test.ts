import { expect, it } from 'vitest';

import { Keys } from './keys.ts';

it('gives a request one key until it has succeeded, and another request another', async () => {
  const keys = new Keys();
  const send = (path: string, packets: number, fails = false) => {
    let used = '';
    const sent = keys.once(path, { packets }, (key) => {
      used = key;
      return fails ? Promise.reject(new Error('cut')) : Promise.resolve();
    });
    return sent.catch(() => undefined).then(() => used);
  };
  const first = await send('a', 1, true);
  expect(await send('a', 2, true)).not.toBe(first);
  expect(await send('b', 1, true)).not.toBe(first);
  expect(await send('a', 1, true)).toBe(first);
  expect(await send('a', 1)).toBe(first);
  expect(await send('a', 1)).not.toBe(first);
});
