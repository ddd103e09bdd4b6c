//! Validation of what an organiser enters: every refusal names its field and says what holds.
//!
//! It must never change terms silently: a value is taken as it is (a title and a label but for
//! the blanks around them) or refused.

use crate::{
    Eligible, Fen, Per, Rules, Split, Timestamp, Tranche, WinLimit, limits,
    schedule::{ScheduleRefusal, wave_sizes},
    split::SplitRefusal,
};

/// Why terms are refused. Together its parts read as a sentence: `title must not be empty`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {reason}")]
pub struct Refusal {
    /// The field, by its path in the request body, such as `split.tiers[0].label`.
    pub field: String,
    /// What must hold of it, to be read after the field's name.
    pub reason: String,
}

impl Refusal {
    /// The refusal of `field` for `reason`.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }
}

impl From<SplitRefusal> for Refusal {
    fn from(refusal: SplitRefusal) -> Self {
        Self::new(refusal.field(), refusal.to_string())
    }
}

impl From<ScheduleRefusal> for Refusal {
    fn from(refusal: ScheduleRefusal) -> Self {
        Self::new(refusal.field(), refusal.to_string())
    }
}

/// ISO 4217 codes with their exponents: how many decimal places the major unit has.
const CURRENCIES: [(&str, u8); 40] = [
    ("AED", 2),
    ("AUD", 2),
    ("BDT", 2),
    ("BHD", 3),
    ("BRL", 2),
    ("CAD", 2),
    ("CHF", 2),
    ("CLP", 0),
    ("CNY", 2),
    ("CZK", 2),
    ("DKK", 2),
    ("EGP", 2),
    ("EUR", 2),
    ("GBP", 2),
    ("HKD", 2),
    ("IDR", 2),
    ("ILS", 2),
    ("INR", 2),
    ("ISK", 0),
    ("JOD", 3),
    ("JPY", 0),
    ("KES", 2),
    ("KRW", 0),
    ("KWD", 3),
    ("MOP", 2),
    ("MXN", 2),
    ("MYR", 2),
    ("NGN", 2),
    ("NOK", 2),
    ("NZD", 2),
    ("PHP", 2),
    ("PLN", 2),
    ("SEK", 2),
    ("SGD", 2),
    ("THB", 2),
    ("TRY", 2),
    ("TWD", 2),
    ("USD", 2),
    ("VND", 0),
    ("ZAR", 2),
];

/// How many decimal places the major unit of currency `code` has; `None` when it is not known
/// here. Codes are upper case, as ISO 4217 writes them.
#[must_use]
pub fn exponent(code: &str) -> Option<u8> {
    let known = CURRENCIES.iter().find(|(known, _)| *known == code);
    known.map(|(_, exponent)| *exponent)
}

/// The currency code, when [`exponent`] knows it.
///
/// # Errors
/// `currency`: not known.
pub fn currency(code: &str) -> Result<String, Refusal> {
    if exponent(code).is_none() {
        let reason = "must be an ISO 4217 code in upper case that is known here, such as CNY";
        return Err(Refusal::new("currency", reason));
    }
    Ok(code.to_owned())
}

/// The title without the blanks around it: 1 to [`limits::TITLE_CHARS_MAX`] characters, none of
/// them a control character.
///
/// # Errors
/// `title`: empty, too long, or with a control character.
pub fn title(text: &str) -> Result<String, Refusal> {
    line("title", text, limits::TITLE_CHARS_MAX)
}

fn line(field: &str, text: &str, chars_max: usize) -> Result<String, Refusal> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Refusal::new(field, "must not be empty"));
    }
    if text.chars().count() > chars_max {
        let reason = format!("must be at most {chars_max} characters long");
        return Err(Refusal::new(field, reason));
    }
    if text.chars().any(char::is_control) {
        return Err(Refusal::new(field, "must not contain control characters"));
    }
    Ok(text.to_owned())
}

/// The packets of each wave; see [`wave_sizes`].
///
/// # Errors
/// `packets`, `batches`, `interval_seconds`: out of its limits, or a wave would be empty.
pub fn waves(packets: u32, batches: u32, interval_seconds: u32) -> Result<Vec<u32>, Refusal> {
    let sizes = wave_sizes(packets, batches)?;
    if interval_seconds > limits::INTERVAL_SECONDS_MAX {
        let most = limits::INTERVAL_SECONDS_MAX;
        let reason = format!("must be at most {most} (30 days), not {interval_seconds}");
        return Err(Refusal::new("interval_seconds", reason));
    }
    Ok(sizes)
}

/// The span of a campaign whose last wave is due at `last_wave_at`.
///
/// # Errors
/// - `starts_at`: further ahead than [`limits::AHEAD_SECONDS_MAX`];
/// - `interval_seconds`: the last wave would be;
/// - `ends_at`: it is, or it is not later than both the start and `now`. An end before the last
///   wave is allowed: what was not issued by then is refunded.
pub fn times(
    starts_at: Timestamp,
    last_wave_at: Timestamp,
    ends_at: Timestamp,
    now: Timestamp,
) -> Result<(), Refusal> {
    let horizon = now.plus_seconds(limits::AHEAD_SECONDS_MAX);
    if starts_at > horizon {
        let reason = format!("must not be later than {horizon}");
        return Err(Refusal::new("starts_at", reason));
    }
    if last_wave_at > horizon {
        let reason = format!("must be shorter: the last wave would be due later than {horizon}");
        return Err(Refusal::new("interval_seconds", reason));
    }
    end(starts_at, ends_at, now)
}

/// The end of a campaign on its own, as when it is changed; see [`times`].
///
/// # Errors
/// See [`times`], `ends_at`.
pub fn end(starts_at: Timestamp, ends_at: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    let horizon = now.plus_seconds(limits::AHEAD_SECONDS_MAX);
    let refuse = |reason: String| Err(Refusal::new("ends_at", reason));
    if ends_at <= starts_at {
        return refuse(format!("must be later than `starts_at` ({starts_at})"));
    }
    if ends_at <= now {
        return refuse(format!("must be later than now ({now})"));
    }
    if ends_at > horizon {
        return refuse(format!("must not be later than {horizon}"));
    }
    Ok(())
}

/// How often one user may win.
///
/// # Errors
/// `win_limit.count`, `win_limit.per.seconds`: out of its limits.
pub fn win_limit(limit: WinLimit) -> Result<WinLimit, Refusal> {
    within("win_limit.count", limit.count, limits::WIN_COUNT_MAX)?;
    if let Per::Seconds(seconds) = limit.per {
        within("win_limit.per.seconds", seconds, limits::WINDOW_SECONDS_MAX)?;
    }
    Ok(limit)
}

fn within(field: &str, value: u32, most: u32) -> Result<(), Refusal> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    let reason = format!("must be from 1 to {most}, not {value}");
    Err(Refusal::new(field, reason))
}

/// Who may try. The user ids in it were checked when they were read.
///
/// # Errors
/// `rules.attempt_window_seconds`, `rules.discard_probability`, `rules.eligible`,
/// `rules.blocked`: out of its limits.
pub fn rules(rules: &Rules) -> Result<(), Refusal> {
    if let Some(seconds) = rules.attempt_window_seconds {
        let field = "rules.attempt_window_seconds";
        within(field, seconds, limits::WINDOW_SECONDS_MAX)?;
    }
    let probability = rules.discard_probability;
    // Not a number lies in no range, and is refused with the rest.
    if !(0.0..=1.0).contains(&probability) {
        let reason = format!("must be from 0 to 1, not {probability}");
        return Err(Refusal::new("rules.discard_probability", reason));
    }
    if let Eligible::Listed(users) = &rules.eligible {
        users_listed("rules.eligible", users.len())?;
    }
    users_listed("rules.blocked", rules.blocked.len())
}

fn users_listed(field: &str, users: usize) -> Result<(), Refusal> {
    if users <= limits::LISTED_USERS_MAX {
        return Ok(());
    }
    let most = limits::LISTED_USERS_MAX;
    let reason = format!("must list at most {most} users, not {users}");
    Err(Refusal::new(field, reason))
}

/// The budget of a tranche that can be split, its prizes' labels included.
///
/// # Errors
/// `packets`, `split.…`: see [`SplitRefusal`]; `split.tiers[0].label` and so on: empty, too
/// long, with blanks around it, or with a control character.
pub fn tranche(tranche: &Tranche) -> Result<Fen, Refusal> {
    let budget = tranche.budget()?;
    if let Split::Tiers { tiers } = &tranche.split {
        for (i, tier) in tiers.iter().enumerate() {
            let field = format!("split.tiers[{i}].label");
            if line(&field, &tier.label, limits::LABEL_CHARS_MAX)? != tier.label {
                return Err(Refusal::new(field, "must not begin or end with a blank"));
            }
        }
    }
    Ok(budget)
}

/// The budget of a top-up, `added`, to a campaign that has `issued` in `waves` waves. Fields are
/// named as in the top-up's own body: `total`, not `split.total`.
///
/// # Errors
/// Those of [`tranche`], and: the campaign would have more waves, packets or money than
/// [`limits`] allows.
pub fn top_up(issued: &[Tranche], waves: usize, added: &Tranche) -> Result<Fen, Refusal> {
    let budget = tranche(added).map_err(|refusal| match refusal.field.strip_prefix("split.") {
        Some(field) => Refusal::new(field, refusal.reason),
        None => refusal,
    })?;
    let waves_max = usize::try_from(limits::WAVES_MAX).unwrap_or(usize::MAX);
    if waves >= waves_max {
        let reason = format!("cannot be added: the campaign has {waves_max} waves already");
        return Err(Refusal::new("packets", reason));
    }
    let packets: u64 = issued.iter().map(|t| u64::from(t.packets)).sum();
    let room = u64::from(limits::PACKETS_MAX).saturating_sub(packets);
    if u64::from(added.packets) > room {
        let reason = format!("must be at most {room}: the campaign has {packets} already");
        return Err(Refusal::new("packets", reason));
    }
    let before = issued
        .iter()
        .try_fold(Fen::ZERO, |sum, t| sum.checked_add(t.budget().ok()?));
    if before.and_then(|sum| sum.checked_add(budget)).is_none() {
        let field = match added.split {
            Split::Equal { .. } => "packets",
            Split::Lucky { .. } => "total",
            Split::Tiers { .. } => "tiers",
        };
        let most = limits::AMOUNT_MAX;
        let reason = format!("would bring the campaign's budget over {most} in all");
        return Err(Refusal::new(field, reason));
    }
    Ok(budget)
}
