/** Who is signed in to the console. The session itself is in a cookie that no script can read. */
import { logIn, logOut, setupState, setUp, whoAmI } from '../shared/api.ts';
import { ApiError } from '../shared/http.ts';

export type AuthView =
  | { kind: 'loading' }
  | { kind: 'unreachable' }
  /** There is no organiser yet: only the one-time link makes the first. */
  | { kind: 'setup_needed' }
  | { kind: 'signed_out' }
  /** The session is over; what was under way stays on the page for who logs in again. */
  | { kind: 'lost' }
  | { kind: 'signed_in'; username: string };

class Auth {
  view = $state<AuthView>({ kind: 'loading' });

  async look(): Promise<void> {
    this.view = { kind: 'loading' };
    try {
      const { needed } = await setupState();
      if (needed) {
        this.view = { kind: 'setup_needed' };
        return;
      }
      const { username } = await whoAmI();
      this.view = { kind: 'signed_in', username };
    } catch (error) {
      const refused = error instanceof ApiError && [401, 403].includes(error.status);
      this.view = { kind: refused ? 'signed_out' : 'unreachable' };
    }
  }

  async logIn(username: string, password: string): Promise<void> {
    await logIn(username, password);
    this.view = { kind: 'signed_in', username };
  }

  async setUp(token: string, username: string, password: string): Promise<void> {
    try {
      await setUp(token, username, password);
    } catch (error) {
      // This may be the second press after a lost reply: then the account is this one.
      if (!(error instanceof ApiError && error.code === 'already_set_up')) throw error;
    }
    await this.logIn(username, password);
  }

  async logOut(): Promise<void> {
    try {
      await logOut();
    } catch (error) {
      if (!isUnauthenticated(error)) throw error;
    }
    this.view = { kind: 'signed_out' };
  }

  /** Told of every failed call: a 401 while signed in means that the session is over. */
  notice(error: unknown): void {
    if (isUnauthenticated(error) && this.view.kind === 'signed_in') this.view = { kind: 'lost' };
  }
}

const isUnauthenticated = (error: unknown): boolean =>
  error instanceof ApiError && error.own && error.status === 401;

export const auth = new Auth();
