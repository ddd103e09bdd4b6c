/**
 * Who takes part on this device. The token itself is in a cookie that no script can read; kept
 * here are the public id, until when the token holds, and, for this tab only, the code, which
 * is what a winner shows to redeem.
 */
import { closeSession, openSession } from '../shared/api.ts';
import { read, thisDevice, thisTab, write } from './storage.ts';

const SESSION = 'hongbao.session';
const CODE = 'hongbao.code';
/** The longest delay that a browser's timer takes. */
const TIMER_MAX_MS = 2 ** 31 - 1;

interface Kept {
  user: string;
  expires_at: string;
}

export class Session {
  /** The participant's public id; null when the code is to be entered. */
  user = $state<string | null>(null);
  /** The code, if it was entered in this tab. */
  code = $state<string | null>(null);
  /** The token ran out or was refused: the code is to be entered again. */
  expired = $state(false);
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    const kept = read<Kept>(thisDevice, SESSION);
    if (!kept) return;
    if (Date.parse(kept.expires_at) > Date.now()) this.#hold(kept);
    else this.expire();
    this.code = read<string>(thisTab, CODE);
  }

  /** Throws what `openSession` throws. */
  async enter(code: string): Promise<void> {
    const { user, expires_at } = await openSession(code);
    write(thisDevice, SESSION, { user, expires_at });
    write(thisTab, CODE, code);
    this.code = code;
    this.expired = false;
    this.#hold({ user, expires_at });
  }

  /** The server no longer takes the token. */
  expire(): void {
    this.#drop();
    this.expired = true;
  }

  /** The participant hands the phone on. The cookie is best removed too, but need not be. */
  leave(): void {
    this.#drop();
    this.code = null;
    this.expired = false;
    write(thisTab, CODE, null);
    closeSession().catch(() => {
      // The next code that is entered replaces the cookie.
    });
  }

  #hold({ user, expires_at }: Kept): void {
    this.user = user;
    clearTimeout(this.#timer);
    const left = Math.max(0, Date.parse(expires_at) - Date.now());
    this.#timer = setTimeout(() => this.expire(), Math.min(left, TIMER_MAX_MS));
  }

  #drop(): void {
    clearTimeout(this.#timer);
    this.user = null;
    write(thisDevice, SESSION, null);
  }
}

/** The code as the server will take it, or what is wrong with it. */
export function checkCode(text: string): { code: string } | { problem: 'empty' | 'long' | 'odd' } {
  const code = text.normalize('NFC').trim();
  if (code === '') return { problem: 'empty' };
  if ([...code].length > 64) return { problem: 'long' };
  if (/\p{Cc}/u.test(code)) return { problem: 'odd' };
  return { code };
}
