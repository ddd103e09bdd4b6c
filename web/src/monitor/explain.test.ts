import { expect, it } from 'vitest';

import { ApiError } from '../shared/http.ts';
import { placed } from './explain.ts';

const FIELDS = ['title', 'split.tiers.0.amount', 'split.tiers', 'split', 'rules.blocked', 'win_limit.per'];
const refusal = (message: string) => new ApiError(400, 'invalid_field', message, 'r', null);

it.each([
  ['`title` is empty', 'title'],
  ['`split.tiers[0].amount` must be at least 1', 'split.tiers.0.amount'],
  ['`tiers[0].amount` must be at least 1', 'split.tiers.0.amount'],
  ['`split.tiers[7].label` is empty', 'split.tiers'],
  ['`tiers` is needed', 'split.tiers'],
  ['`rules.blocked[3]` is empty', 'rules.blocked'],
  ['`win_limit.per.seconds` is too large', 'win_limit.per'],
  ['`something` else', null],
  ['no field is named', null],
])('places %s', (message, field) => {
  expect(placed(refusal(message), FIELDS).field).toBe(field);
});

it('says what is wrong as a sentence, and where only when it does not stand there', () => {
  expect(placed(refusal('`title` is empty'), FIELDS).words()).toBe('Is empty');
  expect(placed(refusal('`other` is empty'), FIELDS).words()).toBe('"other" is empty');
});
