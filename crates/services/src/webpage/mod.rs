//! webpage
