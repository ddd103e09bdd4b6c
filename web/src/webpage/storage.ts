/** Storage that may be forbidden or full: then nothing is kept, and nothing else breaks. */
export function read<T>(store: () => Storage, key: string): T | null {
  try {
    const text = store().getItem(key);
    return text === null ? null : (JSON.parse(text) as T);
  } catch {
    return null;
  }
}

/** Keeps `value`, or removes the key when it is null. */
export function write(store: () => Storage, key: string, value: unknown): void {
  try {
    if (value === null) store().removeItem(key);
    else store().setItem(key, JSON.stringify(value));
  } catch {
    // It is only not remembered.
  }
}

export const thisTab = () => sessionStorage;
export const thisDevice = () => localStorage;
