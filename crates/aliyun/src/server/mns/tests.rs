//! The offline MNS, told the time.
