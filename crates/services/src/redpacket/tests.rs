//! The grab against a real ledger and queue.
