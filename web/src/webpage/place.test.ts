import { expect, it } from 'vitest';

import { campaignOf, urlOf } from './place.ts';

const ID = '01935b1e-0000-7000-8000-000000000000';

it.each([
  ['/webpage', '', null],
  ['/webpage/', '', null],
  ['/webpage/', `?c=${ID}`, ID],
  ['/webpage', `?c=${ID}`, ID],
  [`/webpage/${ID}`, '', ID],
  [`/webpage/${ID}/`, '', ID],
  ['/webpage/%E0%A4%A', '', '%E0%A4%A'],
  ['/webpage/a/b', '', null],
])('%s%s names %s', (pathname, search, id) => {
  expect(campaignOf({ pathname, search })).toBe(id);
});

it('links to what it reads', () => {
  const [pathname = '', query = ''] = urlOf('a b&c').split('?');
  expect(campaignOf({ pathname, search: `?${query}` })).toBe('a b&c');
});
