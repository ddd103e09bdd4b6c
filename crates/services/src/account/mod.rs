//! Who is who and who may try: the account service.
//!
//! # Layout
//! - [`token`], [`key_set`]: participants' tokens, issued and verified.
//! - [`identity`]: who a request is from.
//! - [`codes`]: identification codes and what may be kept of them.
//! - [`admission`], [`registered`]: who may try, and how often.

pub mod admission;
pub mod codes;
pub mod identity;
pub mod key_set;
pub mod registered;
pub mod token;
mod token_cache;
