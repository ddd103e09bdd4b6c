import { afterEach, beforeEach, expect, it, vi } from 'vitest';

import { ApiError } from '../shared/http.ts';
import { type Said, server } from '../shared/testkit.ts';
import { auth } from './auth.svelte.ts';

let says: Record<string, Said>;

beforeEach(() => {
  says = {};
  server(({ call }) => says[call.replace('/monitor/api/', '')]);
  auth.view = { kind: 'signed_out' };
});

afterEach(() => vi.unstubAllGlobals());

it('logs in when the set-up had succeeded and only its reply was lost', async () => {
  says = { 'POST setup': [409, 'already_set_up'], 'POST sessions': { username: 'ann' } };
  await auth.setUp('token', 'ann', 'a long password');
  expect(auth.view).toEqual({ kind: 'signed_in', username: 'ann' });
});

it('does not log in by a link that is not taken, or with another password', async () => {
  says = { 'POST setup': [403, 'wrong_setup_token'], 'POST sessions': { username: 'ann' } };
  await expect(auth.setUp('token', 'ann', 'p')).rejects.toMatchObject({ status: 403 });
  says = { 'POST setup': [409, 'already_set_up'], 'POST sessions': [401, 'wrong_credentials'] };
  await expect(auth.setUp('token', 'ann', 'p')).rejects.toMatchObject({ status: 401 });
  expect(auth.view.kind).toBe('signed_out');
});

it('loses a session to our own server’s word only', () => {
  auth.view = { kind: 'signed_in', username: 'ann' };
  auth.notice(new ApiError(401, 'http_401', '', '', null));
  expect(auth.view.kind).toBe('signed_in');
  auth.notice(new ApiError(401, 'unauthenticated', '', '', null));
  expect(auth.view.kind).toBe('lost');
});

it('is logged out when the session was over already, and not when no answer comes', async () => {
  auth.view = { kind: 'signed_in', username: 'ann' };
  await expect(auth.logOut()).rejects.toThrow();
  expect(auth.view.kind).toBe('signed_in');
  says = { 'DELETE sessions': [401, 'unauthenticated'] };
  await auth.logOut();
  expect(auth.view.kind).toBe('signed_out');
});
