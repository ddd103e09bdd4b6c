/** Who is signed in to the console. The session itself is in a cookie that no script can read. */
import { logIn, logOut, setupState, setUp, whoAmI } from '../shared/api.ts';
import { ApiError } from '../shared/http.ts';

export type AuthView =
  | { kind: 'loading' }
  | { kind: 'unreachable' }
  /** There is no organiser yet: only the one-time link makes the first. */
  | { kind: 'setup_needed' }
  | { kind: 'signed_out'; lost: boolean }
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
      this.view = refused ? { kind: 'signed_out', lost: false } : { kind: 'unreachable' };
    }
  }

  async logIn(username: string, password: string): Promise<void> {
    await logIn(username, password);
    this.view = { kind: 'signed_in', username };
  }

  async setUp(token: string, username: string, password: string): Promise<void> {
    await setUp(token, username, password);
    await this.logIn(username, password);
  }

  async logOut(): Promise<void> {
    await logOut();
    this.view = { kind: 'signed_out', lost: false };
  }

  /** Told of every failed call: a 401 while signed in means that the session is over. */
  notice(error: unknown): void {
    if (error instanceof ApiError && error.status === 401 && this.view.kind === 'signed_in') {
      this.view = { kind: 'signed_out', lost: true };
    }
  }
}

export const auth = new Auth();
