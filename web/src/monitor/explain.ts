/** Failures of calls in the organiser's words. The server's own message is kept: it is exact. */
import { m } from '../paraglide/messages.js';
import { ApiError } from '../shared/http.ts';

const BY_CODE: Record<string, () => string> = {
  campaign_ended: m.o_error_campaign_ended,
  no_such_campaign: m.o_error_no_such_campaign,
  unauthenticated: m.o_error_unauthenticated,
  unavailable: m.o_error_unavailable,
};

/** Why `error` happened; `field` is left out of the words when they stand beside it. */
export function explain(error: unknown, field: string | null = null): string {
  if (!(error instanceof ApiError)) return m.o_error_network();
  const known = BY_CODE[error.code]?.();
  if (known) return known;
  if (error.status === 429) return m.o_error_too_often();
  if (error.status >= 500) {
    return error.requestId ? m.o_error_server({ id: error.requestId }) : m.o_error_unavailable();
  }
  const mark = `\`${field}\` `;
  const beside = field !== null && error.message.startsWith(mark);
  return plain(beside ? error.message.slice(mark.length) : error.message);
}

/** The server's message without its field marks, as a sentence. */
export function plain(message: string): string {
  const text = message.replace(/`/g, '"').trim();
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A refusal of one field, placed at that field of a form. */
export interface Placed {
  /** The form's field, or null for the form as a whole. */
  field: string | null;
  /** In the words of the language in use when it is called. */
  words: () => string;
}

/**
 * Places `error` among a form's `fields`. The server may name a field by its path, by its last
 * part only, or by the group it stands in.
 */
export function placed(error: unknown, fields: readonly string[]): Placed {
  const named = error instanceof ApiError ? error.field : null;
  if (named === null) return { field: null, words: () => explain(error) };
  const path = named.replace(/\[(\d+)\]/g, '.$1');
  const found =
    fields.find((field) => field === path) ??
    fields.find((field) => field.endsWith(`.${path}`)) ??
    fields.find((field) => path.startsWith(`${field}.`)) ??
    fields.find((field) => field.startsWith(`${path}.`)) ??
    null;
  return { field: found, words: () => explain(error, found === null ? null : named) };
}
