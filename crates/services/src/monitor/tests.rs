//! Tests of the endpoints against a real ledger and the embedded queue.

mod life;
