/** The parts of a browser that tests need, and a server that says what it is told. */
import { vi } from 'vitest';

/** What the server says to a call: a body, or the status of an error with its code. */
export type Said = object | [status: number, code: string];

export function browser() {
  const window = new EventTarget();
  const document = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  const on = (name: string, heard: EventListener) => window.addEventListener(name, heard);
  const off = (name: string, heard: EventListener) => window.removeEventListener(name, heard);
  vi.stubGlobal('addEventListener', on);
  vi.stubGlobal('removeEventListener', off);
  vi.stubGlobal('document', document);
  return {
    tab: storage('sessionStorage'),
    device: storage('localStorage'),
    tell: (name: string) => window.dispatchEvent(new Event(name)),
    see: () => document.dispatchEvent(new Event('visibilitychange')),
  };
}

function storage(name: 'sessionStorage' | 'localStorage'): Map<string, string> {
  const kept = new Map<string, string>();
  vi.stubGlobal(name, {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => kept.set(key, value),
    removeItem: (key: string) => kept.delete(key),
  });
  return kept;
}

export interface Asked {
  call: string;
  headers: Record<string, string>;
  body: string | undefined;
}

/** Answers every call with what `said` gives for it; the network is cut where it gives nothing. */
export function server(said: (asked: Asked) => Said | undefined | Promise<Said | undefined>) {
  const asked: Asked[] = [];
  vi.stubGlobal('fetch', async (path: string, init: RequestInit) => {
    const one = {
      call: `${init.method} ${path}`,
      headers: init.headers as Record<string, string>,
      body: init.body as string | undefined,
    };
    asked.push(one);
    const says = await said(one);
    if (says === undefined) throw new TypeError('cut');
    if (!Array.isArray(says)) return new Response(JSON.stringify(says));
    const [status, code] = says as [number, string];
    return new Response(JSON.stringify({ error: { code, message: code } }), { status });
  });
  return asked;
}

/** A promise that is kept when the test says so. */
export function later<T>() {
  let keep!: (value: T) => void;
  const promise = new Promise<T>((resolve) => (keep = resolve));
  return { promise, keep };
}
