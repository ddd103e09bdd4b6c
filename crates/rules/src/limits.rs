//! Every limit on size and number, in one place. Those of time are beside what they bound.

/// The largest amount or sum, in minor units: 2⁵³ − 1, so that JavaScript holds it exactly.
pub const AMOUNT_MAX: u64 = (1 << 53) - 1;
/// The most packets one campaign may hold on the embedded default, top-ups included.
pub const PACKETS_MAX: u32 = 10_000_000;
/// The most waves one campaign may hold, top-ups included.
pub const WAVES_MAX: u32 = 10_000;
/// The most tiers in one tranche.
pub const TIERS_MAX: usize = 1_000;
/// The longest title, in characters.
pub const TITLE_CHARS_MAX: usize = 120;
/// The longest tier label, in characters.
pub const LABEL_CHARS_MAX: usize = 64;
/// The longest user id or identification code, in characters after NFC.
pub const USER_CHARS_MAX: usize = 64;
/// The most users in an eligible list or in a blocked list.
pub const LISTED_USERS_MAX: usize = 100_000;
/// The longest interval between waves, in seconds (30 days).
pub const INTERVAL_SECONDS_MAX: u32 = 30 * 86_400;
/// The longest attempt window or win-limit period, in seconds (30 days).
pub const WINDOW_SECONDS_MAX: u32 = 30 * 86_400;
/// The most wins a user may be allowed in one period.
pub const WIN_COUNT_MAX: u32 = 1_000;
/// The most packets in one bundle.
pub const BUNDLE_PACKETS_MAX: u32 = 256;
/// How far ahead of now a campaign may start, issue and end, in seconds (100 years): every time
/// that is shown stays within four-digit years.
pub const AHEAD_SECONDS_MAX: i64 = 100 * 366 * 86_400;
