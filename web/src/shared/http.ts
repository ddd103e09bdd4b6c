/**
 * One request to our own server: JSON in, JSON out, every failure as one of two errors.
 * It never repeats a request: who may repeat what is decided in `retry.ts` and by the caller.
 */

/** The server answered, but not with what was asked for. */
export class ApiError extends Error {
  constructor(
    /** HTTP status. */
    readonly status: number,
    /** Stable code from the error body; `http_<status>` when there was no such body. */
    readonly code: string,
    /** What is wrong, for a person; in English. */
    message: string,
    /** What to quote when asking for help; empty when the server gave none. */
    readonly requestId: string,
    /** What `Retry-After` asks for, in milliseconds. */
    readonly retryAfterMs: number | null,
  ) {
    super(message);
  }

  /** Our server said it. A proxy or a login page of the network in between says nothing of ours. */
  get own(): boolean {
    return !this.code.startsWith('http_');
  }

  /** The field that the message names, as `split.total`; null when it names none. */
  get field(): string | null {
    return /`([^`]+)`/.exec(this.message)?.[1] ?? null;
  }
}

/** No answer came: offline, refused, cut or too late. Whether the server acted is unknown. */
export class NetworkError extends Error {}

export interface Ask {
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Sent as JSON. */
  body?: unknown;
  /** Sent as it is, with this content type, instead of `body`. */
  text?: { content: string; type: string };
  headers?: Record<string, string>;
  /** Milliseconds until it counts as unanswered. */
  timeoutMs?: number;
}

export async function request<T>(path: string, ask: Ask = {}): Promise<T> {
  const { method = 'GET', body, text, headers = {}, timeoutMs = 10_000 } = ask;
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), timeoutMs);
  try {
    const response = await fetch(path, {
      method,
      headers: {
        Accept: 'application/json',
        ...(body !== undefined && { 'Content-Type': 'application/json' }),
        ...(text && { 'Content-Type': text.type }),
        ...headers,
      },
      body: body !== undefined ? JSON.stringify(body) : text?.content,
      credentials: 'same-origin',
      cache: 'no-store',
      signal: abort.signal,
    });
    const answer = await response.text();
    if (!response.ok) throw errorOf(response, answer);
    return (answer === '' ? undefined : JSON.parse(answer)) as T;
  } catch (cause) {
    if (cause instanceof ApiError) throw cause;
    throw new NetworkError(cause instanceof Error ? cause.message : String(cause));
  } finally {
    clearTimeout(timer);
  }
}

function errorOf(response: Response, answer: string): ApiError {
  let code = `http_${response.status}`;
  let message = response.statusText || code;
  let requestId = '';
  try {
    const { error } = JSON.parse(answer) as {
      error: { code: string; message: string; request_id?: string };
    };
    code = error.code;
    message = error.message;
    requestId = error.request_id ?? '';
  } catch {
    // A proxy in front answers in its own words; the status is all that can be relied on.
  }
  return new ApiError(
    response.status,
    code,
    message,
    requestId,
    retryAfterMs(response.headers.get('Retry-After')),
  );
}

/** `Retry-After` in milliseconds, from its form in seconds; null for none or a date. */
export function retryAfterMs(header: string | null): number | null {
  if (header === null || !/^\d{1,5}$/.test(header.trim())) return null;
  return Number(header) * 1000;
}
