/** The outcomes of grabs as the console lists and colours them, in one fixed order. */
import { m } from '../paraglide/messages.js';
import type { Missed, Outcomes, Rejected } from '../shared/api.ts';

export interface OutcomeKind {
  key: string;
  name: () => string;
  /** Readable on the light and on the dark ground. */
  colour: string;
  of: (outcomes: Outcomes) => number;
}

const missed = (reason: Missed, name: () => string, colour: string): OutcomeKind => ({
  key: `missed.${reason}`,
  name,
  colour,
  of: (outcomes) => outcomes.missed[reason] ?? 0,
});

const rejected = (reason: Rejected, name: () => string, colour: string): OutcomeKind => ({
  key: `rejected.${reason}`,
  name,
  colour,
  of: (outcomes) => outcomes.rejected[reason] ?? 0,
});

export const KINDS: readonly OutcomeKind[] = [
  { key: 'won', name: m.o_outcome_won, colour: '#d3353a', of: (o) => o.won },
  { key: 'repeated', name: m.o_outcome_repeated, colour: '#ef9a9a', of: (o) => o.repeated },
  missed('not_started', m.o_missed_not_started, '#7e6bc4'),
  missed('between_waves', m.o_missed_between_waves, '#3f7fc4'),
  missed('not_this_time', m.o_missed_not_this_time, '#57aede'),
  missed('sold_out', m.o_missed_sold_out, '#7f98ab'),
  missed('paused', m.o_missed_paused, '#a3b7c6'),
  missed('ended', m.o_missed_ended, '#58697a'),
  rejected('too_frequent', m.o_rejected_too_frequent, '#d99a1e'),
  rejected('discarded', m.o_rejected_discarded, '#b9a13a'),
  rejected('blocked', m.o_rejected_blocked, '#8d6a3a'),
  rejected('not_eligible', m.o_rejected_not_eligible, '#6f8f3a'),
  rejected('limit_reached', m.o_rejected_limit_reached, '#3f9f78'),
  { key: 'unavailable', name: m.o_outcome_unavailable, colour: '#a1489c', of: (o) => o.unavailable },
];

/** All grabs that were answered. */
export const totalOf = (outcomes: Outcomes): number =>
  KINDS.reduce((sum, kind) => sum + kind.of(outcomes), 0);
