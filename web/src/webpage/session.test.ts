import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { ApiError } from '../shared/http.ts';
import { Session } from './session.svelte.ts';
import { type Asked, browser, later, type Said, server } from '../shared/testkit.ts';

let page: ReturnType<typeof browser>;
let asked: Asked[];
let signIns: number;
let onCall: (asked: Asked) => Said | undefined | Promise<Said | undefined>;

/** A code is its user's name in capitals. */
function answer({ call, body }: Asked): Said | undefined {
  if (call.startsWith('DELETE')) return {};
  const { code } = JSON.parse(body!) as { code: string };
  signIns += 1;
  return { token: 'x', user: code.toLowerCase(), expires_at: `sign-in ${signIns}` };
}

beforeEach(() => {
  page = browser();
  signIns = 0;
  onCall = answer;
  asked = server((one) => onCall(one));
});

afterEach(() => vi.unstubAllGlobals());

/** The same browser's next tab, or this one after a reload when it keeps what the tab kept. */
function otherTab(): void {
  page.tab.clear();
}

const REFUSED = new ApiError(401, 'unauthenticated', '', '', null);

/** Calls that need the token: refused so many times, then answered. */
function refusing(times: number) {
  let count = 0;
  return {
    count: () => count,
    ask: () => {
      count += 1;
      return count <= times ? Promise.reject(REFUSED) : Promise.resolve('answer');
    },
  };
}

describe('a session', () => {
  it('outlives a reload with its code, and other tabs know it without the code', async () => {
    await new Session().enter('BOB');
    const reloaded = new Session();
    expect([reloaded.user, reloaded.code]).toEqual(['bob', 'BOB']);
    otherTab();
    const other = new Session();
    expect([other.user, other.code]).toEqual(['bob', null]);
  });

  it('of another tab is followed, and the code is shown to its own user only', async () => {
    const bob = new Session();
    await bob.enter('BOB');
    page.device.set('hongbao.session', JSON.stringify({ user: 'eve', expires_at: 'later' }));
    page.tell('storage');
    expect([bob.user, bob.code]).toEqual(['eve', null]);
    page.device.delete('hongbao.session');
    page.tell('storage');
    expect(bob.user).toBeNull();
    page.device.set('hongbao.session', JSON.stringify({ user: 'ann', expires_at: 'later' }));
    page.see();
    expect(bob.user).toBe('ann');
  });

  it('holds where nothing can be kept', async () => {
    const forbidden = () => {
      throw new Error('forbidden');
    };
    const none = { getItem: forbidden, setItem: forbidden, removeItem: forbidden };
    vi.stubGlobal('localStorage', none);
    vi.stubGlobal('sessionStorage', none);
    const bob = new Session();
    await bob.enter('BOB');
    page.see();
    expect([bob.user, bob.code]).toEqual(['bob', 'BOB']);
  });

  it('is entered only when the last one is left: its answer takes the cookie away', async () => {
    const bob = new Session();
    await bob.enter('BOB');
    const left = later<Said>();
    onCall = (one) => (one.call.startsWith('DELETE') ? left.promise : answer(one));
    bob.leave();
    expect([bob.user, bob.code, page.device.size, page.tab.size]).toEqual([null, null, 0, 0]);
    const entering = bob.enter('EVE');
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(asked.map(({ call }) => call.split(' ')[0])).toEqual(['POST', 'DELETE']);
    left.keep({});
    await entering;
    expect(bob.user).toBe('eve');
  });
});

describe('a refused token', () => {
  it('is replaced by the code of this tab, once, for all that asked', async () => {
    const bob = new Session();
    await bob.enter('BOB');
    const [one, two] = [refusing(1), refusing(1)];
    const answers = await Promise.all([bob.signedIn(one.ask), bob.signedIn(two.ask)]);
    expect(answers).toEqual(['answer', 'answer']);
    expect([signIns, bob.user, bob.expired]).toEqual([2, 'bob', false]);
  });

  it('that stays refused ends the session, and no loop begins', async () => {
    const bob = new Session();
    await bob.enter('BOB');
    const never = refusing(99);
    await expect(bob.signedIn(never.ask)).rejects.toBe(REFUSED);
    expect([never.count(), signIns, bob.user, bob.expired]).toEqual([2, 2, null, true]);
    page.see();
    expect(bob.user).toBeNull();
  });

  it('without the code ends the session', async () => {
    await new Session().enter('BOB');
    otherTab();
    const bob = new Session();
    await expect(bob.signedIn(refusing(1).ask)).rejects.toBe(REFUSED);
    expect([signIns, bob.user, bob.expired]).toEqual([1, null, true]);
  });

  it('ends the session when the code is refused too, but not when no answer comes', async () => {
    const bob = new Session();
    await bob.enter('BOB');
    onCall = () => undefined;
    await expect(bob.signedIn(refusing(1).ask)).rejects.not.toBe(REFUSED);
    expect(bob.user).toBe('bob');
    onCall = () => [401, 'unknown_code'];
    await expect(bob.signedIn(refusing(1).ask)).rejects.toBe(REFUSED);
    expect([bob.user, bob.expired]).toEqual([null, true]);
  });

  it('of one user says nothing about the next', async () => {
    const bob = new Session();
    await bob.enter('BOB');
    const refusal = later<never>();
    const asking = bob.signedIn(() => refusal.promise.then(() => Promise.reject(REFUSED)));
    await bob.enter('EVE');
    refusal.keep(undefined as never);
    await expect(asking).rejects.toBe(REFUSED);
    expect([signIns, bob.user, bob.expired]).toEqual([2, 'eve', false]);
  });
});
