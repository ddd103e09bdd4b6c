/**
 * Money as whole minor units, shown and read by the currency's exponent. No floating point:
 * sums go up to 2^53 - 1 units, where dividing by 100 would already round.
 */

/** The largest amount or sum, in minor units. */
export const AMOUNT_MAX = Number.MAX_SAFE_INTEGER;

/** The currencies that the form offers, with their number of decimal places. */
export const CURRENCIES: Readonly<Record<string, number>> = {
  CNY: 2,
  HKD: 2,
  TWD: 2,
  MOP: 2,
  SGD: 2,
  MYR: 2,
  USD: 2,
  EUR: 2,
  GBP: 2,
  AUD: 2,
  CAD: 2,
  CHF: 2,
  THB: 2,
  VND: 0,
  JPY: 0,
  KRW: 0,
  KWD: 3,
};

/** `units` minor units as a plain decimal: (1234, 2) is `12.34`. */
export function decimal(units: number, exponent: number): string {
  const digits = String(units).padStart(exponent + 1, '0');
  if (exponent === 0) return digits;
  return `${digits.slice(0, -exponent)}.${digits.slice(-exponent)}`;
}

/** `units` minor units of `currency` as people of `locale` write it. */
export function money(units: number, currency: string, exponent: number, locale: string): string {
  const [whole = '0', fraction = ''] = decimal(units, exponent).split('.');
  let format: Intl.NumberFormat;
  try {
    format = new Intl.NumberFormat(locale, {
      style: 'currency',
      currency,
      minimumFractionDigits: exponent,
      maximumFractionDigits: exponent,
    });
  } catch {
    // Not three letters, or an old browser: the bare number and the code are still right.
    return `${decimal(units, exponent)} ${currency}`;
  }
  // The whole part is formatted as a big integer and the fraction put in as digits: exact.
  return format
    .formatToParts(BigInt(whole))
    .map((part) => (part.type === 'fraction' ? fraction : part.value))
    .join('');
}

/**
 * What a person typed as an amount, in minor units; null when it is not one. A comma or space
 * only ever separates thousands: `12,50` is twelve and a half to many, and never 1,250.
 */
export function parseMoney(text: string, exponent: number): number | null {
  const match = /^(\d{1,16}|\d{1,3}(?:[,\s]\d{3})+)(?:\.(\d*))?$/.exec(text.trim());
  if (!match) return null;
  const [, whole = '', fraction = ''] = match;
  if (fraction.length > exponent) return null;
  const units = Number(whole.replace(/\D/g, '') + fraction.padEnd(exponent, '0'));
  return Number.isSafeInteger(units) ? units : null;
}
