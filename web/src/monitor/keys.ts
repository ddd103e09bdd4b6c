/** Which Idempotency-Key a request that issues money is sent with. */
import { uuid } from '../shared/uuid.ts';

/**
 * The same request has the same key until it has succeeded: a second click, or the same form
 * filled in again after its reply was lost, cannot act twice.
 */
export class Keys {
  #keys = new Map<string, string>();

  /** Calls `send` with the key of the request of `body` to `path`. */
  async once<T>(path: string, body: unknown, send: (key: string) => Promise<T>): Promise<T> {
    const request = JSON.stringify([path, body]);
    const key = this.#keys.get(request) ?? uuid();
    this.#keys.set(request, key);
    const answer = await send(key);
    this.#keys.delete(request);
    return answer;
  }
}

/** Of this page: a form may be closed and opened again while its request has no answer. */
export const keys = new Keys();
