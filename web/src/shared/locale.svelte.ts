/**
 * The language of the page. Messages read it as reactive state, so switching changes every
 * word in place and nothing that was typed or is under way is lost.
 */
import { baseLocale, isLocale, overwriteGetLocale, type Locale } from '../paraglide/runtime.js';

const KEY = 'hongbao.locale';

let current = $state<Locale>(preferred());
overwriteGetLocale(() => current);
apply();

/** The language in use. */
export function locale(): Locale {
  return current;
}

/** The language in use as a tag for `Intl`. */
export function tag(): string {
  return current === 'zh' ? 'zh-CN' : 'en-GB';
}

export function choose(chosen: Locale): void {
  current = chosen;
  apply();
  try {
    localStorage.setItem(KEY, chosen);
  } catch {
    // Storage is forbidden: the choice holds until the page is closed.
  }
}

function apply(): void {
  document.documentElement.lang = current === 'zh' ? 'zh-CN' : 'en';
}

function preferred(): Locale {
  try {
    const kept = localStorage.getItem(KEY);
    if (isLocale(kept)) return kept;
  } catch {
    // Storage is forbidden: the browser's languages decide.
  }
  for (const language of navigator.languages ?? [navigator.language]) {
    const primary = language.toLowerCase().split('-')[0];
    if (isLocale(primary)) return primary;
  }
  return baseLocale;
}
