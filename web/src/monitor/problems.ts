/** The problems of a form's fields in words. */
import { m } from '../paraglide/messages.js';
import type { Problem, Problems } from './forms.ts';

const WORDS: Record<Problem, () => string> = {
  required: m.o_problem_required,
  whole: m.o_problem_whole,
  money: m.o_problem_money,
  percent: m.o_problem_percent,
  past: m.o_problem_past,
  before_start: m.o_problem_before_start,
  batches: m.o_problem_batches,
  too_small: m.o_problem_too_small,
  too_large: m.o_problem_too_large,
  min_max: m.o_problem_min_max,
  tier_count: m.o_problem_tier_count,
};

/** What is wrong with the fields of a form, each in the words of the language in use. */
export type Faults = Record<string, () => string>;

export function inWords(problems: Problems): Faults {
  return Object.fromEntries(Object.entries(problems).map(([field, what]) => [field, WORDS[what]]));
}

/** The faults as they read now. */
export function written(faults: Faults): Record<string, string> {
  return Object.fromEntries(Object.entries(faults).map(([field, words]) => [field, words()]));
}

/** Puts the focus on the first field that is marked as wrong, once the marks are drawn. */
export function focusFirstProblem(within: HTMLElement | undefined): void {
  requestAnimationFrame(() => {
    within?.querySelector<HTMLElement>('[aria-invalid="true"], [role="alert"]')?.focus();
  });
}
