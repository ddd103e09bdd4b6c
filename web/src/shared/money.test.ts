import { describe, expect, it } from 'vitest';

import { AMOUNT_MAX, CURRENCIES, decimal, money, parseMoney } from './money.ts';

describe('decimal', () => {
  it.each([
    [0, 2, '0.00'],
    [5, 2, '0.05'],
    [1234, 2, '12.34'],
    [1234, 0, '1234'],
    [7, 3, '0.007'],
    [AMOUNT_MAX, 2, '90071992547409.91'],
  ])('writes %i with %i places as %s', (units, exponent, text) => {
    expect(decimal(units, exponent)).toBe(text);
  });
});

describe('money', () => {
  it('follows currency, places and language', () => {
    expect(money(1_234_56, 'CNY', 2, 'zh-CN')).toBe('¥1,234.56');
    expect(money(1_500, 'KWD', 3, 'en-GB')).toMatch(/1\.500$/);
  });

  it('never shows two currencies alike', () => {
    for (const locale of ['zh-CN', 'en-GB']) {
      const shown = Object.keys(CURRENCIES).map((currency) => money(500, currency, 2, locale));
      expect(new Set(shown).size).toBe(shown.length);
    }
  });

  it('is exact at the largest amount, where a division would round', () => {
    expect(money(AMOUNT_MAX, 'USD', 2, 'en-GB')).toBe('US$90,071,992,547,409.91');
  });

  it('shows the bare number of a currency it cannot know', () => {
    expect(money(150, 'not a code', 2, 'en-GB')).toBe('1.50 not a code');
  });
});

describe('parseMoney', () => {
  it.each([
    ['12.34', 2, 1234],
    ['12.3', 2, 1230],
    ['12.', 2, 1200],
    [' 1,234.5 ', 2, 123_450],
    ['1 234 567', 2, 123_456_700],
    ['12,500', 0, 12_500],
    ['500', 0, 500],
    ['0.007', 3, 7],
    ['90071992547409.91', 2, AMOUNT_MAX],
  ])('reads %s with %i places', (text, exponent, units) => {
    expect(parseMoney(text, exponent)).toBe(units);
  });

  it.each([
    ['', 2],
    ['-1', 2],
    ['1.234', 2],
    ['1.5', 0],
    ['1e3', 2],
    ['.5', 2],
    ['12a', 2],
    ['12,50', 2],
    ['1234,567', 2],
    ['1,2345', 2],
    ['1.234,50', 2],
    [',123', 2],
    ['12 50', 2],
    ['90071992547409.92', 2],
  ])('refuses %s with %i places', (text, exponent) => {
    expect(parseMoney(text, exponent)).toBeNull();
  });

  it('reads back what decimal writes', () => {
    for (const exponent of new Set(Object.values(CURRENCIES))) {
      for (const units of [0, 1, 9, 10, 99, 100, 123_456_789, AMOUNT_MAX]) {
        expect(parseMoney(decimal(units, exponent), exponent)).toBe(units);
      }
    }
  });
});
