//! The message service: typed requests and replies, and a client that retries.
