//! The suite that every implementation of [`Ledger`](crate::Ledger) must pass: each promise of
//! the design as a function that is given a fresh ledger.
//!
//! [`ledger_conformance!`](crate::ledger_conformance) makes a test of each. Nothing here may
//! know which database it speaks to, nor depend on how fast it is.

#![expect(
    clippy::unwrap_used,
    reason = "a call that fails here is a test that fails"
)]

pub mod bench;
pub mod bundles;
pub mod claims;
pub mod closing;
pub mod conflicts;
pub mod counters;
pub mod following;
pub mod issuing;
pub mod leading;
pub mod people;
pub mod reading;
pub mod shared;
pub mod together;

/// Makes a test of each promise; `$fresh` is an async function that gives a
/// [`Bench`](crate::conformance::bench::Bench) with an empty ledger.
#[macro_export]
macro_rules! ledger_conformance {
    ($fresh:path) => {
        $crate::ledger_conformance! { @ $fresh;
            claims: a_claim_is_read_back_everywhere, batches_may_hold_several_campaigns,
                a_repeated_claim_is_the_same_win, late_asks_are_dropped,
                many_batches_at_once_give_each_packet_once,
                a_halted_campaign_gives_nothing, a_bad_row_fails_alone,
                what_the_campaign_has_not_is_not_given;
            conflicts: a_taken_packet_goes_to_nobody_else, a_user_wins_once,
                the_packet_is_judged_before_the_user, one_user_twice_in_a_batch,
                one_packet_twice_in_a_batch, one_row_in_the_way_spoils_no_other,
                several_wins_are_counted_to_the_limit, the_same_tap_is_the_same_win,
                periods_of_seconds_begin_anew, a_period_begins_with_each_opening;
            closing: the_refund_is_what_is_left, a_close_is_repeated_without_effect,
                claims_and_close_exclude_each_other, a_closed_campaign_changes_no_more,
                an_end_that_was_put_off_closes_nothing;
            issuing: a_campaign_is_read_as_it_was_written, a_creation_is_done_once,
                versions_tell_every_change, campaigns_come_page_by_page,
                waves_go_from_planned_to_open_once, a_pause_moves_what_is_planned,
                a_top_up_is_one_more_wave, a_top_up_is_done_once, top_ups_keep_the_limit_together,
                a_top_up_in_a_pause_is_due_at_its_end, a_patch_changes_what_it_names;
            bundles: a_hold_tells_what_is_claimed, held_bundles_are_not_stranded,
                the_delay_doubles, an_empty_queue_is_refilled_regardless,
                claimed_bundles_are_never_stranded, leased_packets_are_counted;
            leading: one_leads_at_a_time, another_takes_over_after_the_lease,
                a_lead_can_be_given_up, one_of_many_leads, a_deposed_leader_writes_nothing;
            following: each_slot_counts_its_claims, a_follower_misses_nothing,
                nothing_is_missed_while_many_claim, thousands_of_wins_are_read_at_once;
            together: one_creation_of_many_callers, top_ups_at_once_are_numbered,
                one_refund_for_many_closers, no_change_is_missed_while_many_change,
                imports_at_once_are_whole, one_first_organiser_of_many,
                one_win_of_a_tap_on_many_nodes;
            reading: a_settled_ask_is_won_or_free, looks_find_every_win,
                winners_come_page_by_page, winners_are_searched, ids_are_told_apart_to_the_byte,
                a_packet_is_redeemed_once, amounts_are_counted, the_audit_finds_the_books_balanced;
            counters: counts_add_up, steps_are_summed, a_dead_node_leaves_a_gap,
                time_never_goes_back;
            people: an_import_adds_and_changes, an_import_is_all_or_nothing,
                codes_may_be_exchanged, users_come_page_by_page, the_first_organiser_is_the_only_one,
                sessions_expire;
        }
    };
    (@ $fresh:path; $($group:ident: $($promise:ident),+;)+) => {
        $(mod $group {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                $crate::conformance::$group::$promise($fresh().await).await;
            })+
        })+
    };
}
