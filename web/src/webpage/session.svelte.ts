/**
 * Who takes part on this device. The token itself is in a cookie that no script can read, and
 * only the server knows whether it still holds; kept here are the public id and, for this tab
 * only, the code, which is what a winner shows to redeem.
 */
import { closeSession, openSession, type Session as Opened } from '../shared/api.ts';
import { ApiError } from '../shared/http.ts';
import { isRetryable } from '../shared/retry.ts';
import { onWake } from '../shared/wake.ts';
import { read, thisDevice, thisTab, write } from './storage.ts';

const SESSION = 'hongbao.session';
const CODE = 'hongbao.code';

/** What this device keeps; `expires_at` only tells one sign-in from the next. */
type Kept = Pick<Opened, 'user' | 'expires_at'>;

/** The code that was entered in this tab, and whose it is. */
interface Entered {
  user: string;
  code: string;
}

export class Session {
  /** The participant's public id; null when the code is to be entered. */
  user = $state<string | null>(null);
  /** The participant's code, if it was entered in this tab. */
  code = $state<string | null>(null);
  /** The token was refused: the code is to be entered again. */
  expired = $state(false);
  /** What this device kept when this tab last looked, as text. */
  #seen = 'null';
  #renewing: Promise<void> | null = null;
  #leaving: Promise<void> | null = null;

  constructor() {
    this.#follow();
    // Another tab may sign somebody else in or out: the cookie is the same for all tabs.
    addEventListener('storage', this.#follow);
    onWake(this.#follow);
  }

  /** Throws what `openSession` throws. */
  async enter(code: string): Promise<void> {
    // A late answer to the leaving would take the new cookie away.
    await this.#leaving;
    this.#hold(code, await openSession(code));
  }

  /**
   * Asks what needs the token. Where it is refused and this tab has the code, a new token is
   * fetched and `ask` repeated, once; else the session is over. Throws what `ask` throws.
   */
  async signedIn<T>(ask: () => Promise<T>): Promise<T> {
    const { user } = this;
    for (let renewed = false; ; renewed = true) {
      try {
        return await ask();
      } catch (error) {
        const refused = error instanceof ApiError && error.own && error.status === 401;
        // Somebody else may have entered a code while this was asked.
        if (!refused || this.user !== user) throw error;
        if (renewed || this.code === null) {
          this.#expire();
          throw error;
        }
        await this.#renew(this.code, error);
        if (this.user !== user) throw error;
      }
    }
  }

  /** The participant hands the phone on. The cookie is best removed too, but need not be. */
  leave(): void {
    this.user = null;
    this.code = null;
    this.expired = false;
    write(thisDevice, SESSION, null);
    write(thisTab, CODE, null);
    this.#look();
    this.#leaving = Promise.allSettled([this.#renewing])
      .then(closeSession)
      .catch(() => {
        // The next code that is entered replaces the cookie.
      });
  }

  /** Throws what can be asked again, or the `refusal` of the token when the code is refused. */
  #renew(code: string, refusal: ApiError): Promise<void> {
    this.#renewing ??= this.#reopen(code, refusal).finally(() => (this.#renewing = null));
    return this.#renewing;
  }

  async #reopen(code: string, refusal: ApiError): Promise<void> {
    const { user } = this;
    try {
      const opened = await openSession(code);
      if (this.user === user) this.#hold(code, opened);
    } catch (error) {
      if (isRetryable(error)) throw error;
      if (this.user === user) this.#expire();
      throw refusal;
    }
  }

  #expire(): void {
    this.user = null;
    this.expired = true;
  }

  #hold(code: string, { user, expires_at }: Opened): void {
    write(thisDevice, SESSION, { user, expires_at } satisfies Kept);
    write(thisTab, CODE, { user, code } satisfies Entered);
    this.#look();
    this.user = user;
    this.code = code;
    this.expired = false;
  }

  /** Whether this device keeps something else than when this tab last looked; remembers it. */
  #look(): { changed: boolean; kept: Kept | null } {
    const kept = read<Kept>(thisDevice, SESSION);
    const seen = JSON.stringify(kept);
    const changed = seen !== this.#seen;
    this.#seen = seen;
    return { changed, kept };
  }

  #follow = (): void => {
    const { changed, kept } = this.#look();
    if (!changed) return;
    const entered = read<Entered>(thisTab, CODE);
    const own = kept !== null && entered?.user === kept.user;
    if (!own) write(thisTab, CODE, null);
    this.user = kept?.user ?? null;
    this.code = own ? entered.code : null;
    this.expired = false;
  };
}

/** The code as the server will take it, or what is wrong with it. */
export function checkCode(text: string): { code: string } | { problem: 'empty' | 'long' | 'odd' } {
  const code = text.normalize('NFC').trim();
  if (code === '') return { problem: 'empty' };
  if ([...code].length > 64) return { problem: 'long' };
  if (/\p{Cc}/u.test(code)) return { problem: 'odd' };
  return { code };
}
