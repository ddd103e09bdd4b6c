//! The signatures of MNS, SLS version 1 and SLS version 4.
