//! Reading very many claims: thousands of rows packed into one text by the database.
//!
//! Every row that crosses from the database to us costs an allocation for each of its columns
//! and a hand-over between threads; packed, half a million claims cost a few hundred of those.

use rules::{Fen, PacketId, Timestamp, UserId};
use sqlx::SqliteConnection;

use super::fault::Fail;
use crate::{AuditClaim, CampaignNo, LedgerError, Win, api::Result, codec, codec::corrupt};

/// Claims in one text.
const PAGE: usize = 2_048;

/// Wins as `wave,index,amount,tier,time,period,ordinal,grab,bytes,user;` each: the tier −1 and
/// the Grab-Id empty where there is none; `bytes` is the length of `user`, so that any sign may
/// stand in it.
const WINS: &str = "SELECT group_concat(concat_ws(',', wave, idx, amount, coalesce(tier, -1), \
     claimed_at, period, ordinal, hex(coalesce(grab_id, '')), octet_length(user), user) || ';', '') \
     FROM (SELECT * FROM claims WHERE campaign_no = ?1 AND (wave, idx) > (?2, ?3) \
     ORDER BY wave, idx LIMIT ?4)";

/// Claims as `wave,index,amount;` each.
const CLAIMS: &str = "SELECT group_concat(concat_ws(',', wave, idx, amount) || ';', '') \
     FROM (SELECT wave, idx, amount FROM claims WHERE campaign_no = ?1 \
     AND (wave, idx) > (?2, ?3) ORDER BY wave, idx LIMIT ?4)";

/// Every win of a campaign, by packet. Call it within a snapshot.
pub(super) async fn wins(
    conn: &mut SqliteConnection,
    campaign: CampaignNo,
) -> Result<Vec<(UserId, Win)>, Fail> {
    read(conn, campaign, WINS, win, |(_, win)| win.packet).await
}

/// Every claim of a campaign, by packet. Call it within a snapshot.
pub(super) async fn claims(
    conn: &mut SqliteConnection,
    campaign: CampaignNo,
) -> Result<Vec<AuditClaim>, Fail> {
    read(conn, campaign, CLAIMS, claim, |claim| claim.packet).await
}

async fn read<T>(
    conn: &mut SqliteConnection,
    campaign: CampaignNo,
    sql: &'static str,
    decode: impl Fn(&mut Packed<'_>) -> Result<T>,
    packet: impl Fn(&T) -> PacketId,
) -> Result<Vec<T>, Fail> {
    let mut all = Vec::new();
    let mut after = PacketId { wave: 0, index: 0 };
    loop {
        let page: Option<String> = sqlx::query_scalar(sql)
            .bind(campaign.0)
            .bind(i64::from(after.wave))
            .bind(i64::from(after.index))
            .bind(PAGE as i64)
            .fetch_one(&mut *conn)
            .await?;
        let Some(page) = page else { return Ok(all) };
        let before = all.len();
        let mut packed = Packed(&page);
        while !packed.0.is_empty() {
            let one = decode(&mut packed)?;
            after = packet(&one);
            all.push(one);
        }
        if all.len() - before < PAGE {
            return Ok(all);
        }
    }
}

fn win(packed: &mut Packed<'_>) -> Result<(UserId, Win)> {
    let packet = packet(packed)?;
    let amount = codec::amount(packed.number()?)?;
    let tier = match packed.number()? {
        -1 => None,
        tier => Some(codec::small(tier, "a tier")?),
    };
    let claimed_at = Timestamp::from_micros(packed.number()?);
    let period = packed.number()?;
    let ordinal = codec::small(packed.number()?, "an ordinal")?;
    let grab = packed.until(',')?;
    let grab_id = match grab {
        "" => None,
        hex => Some(codec::grab_id(
            &hex::decode(hex).map_err(|_| damaged("a Grab-Id"))?,
        )?),
    };
    let bytes = codec::small(packed.number()?, "a user's length")?;
    let user = UserId::trusted(packed.text(bytes)?);
    packed.end()?;
    let win = Win {
        packet,
        amount,
        tier,
        claimed_at,
        period,
        ordinal,
        grab_id,
    };
    Ok((user, win))
}

fn claim(packed: &mut Packed<'_>) -> Result<AuditClaim> {
    let packet = packet(packed)?;
    let amount = packed.until(';')?.parse();
    let amount: Option<Fen> = amount.ok().and_then(Fen::new);
    let amount = amount.ok_or_else(|| damaged("an amount"))?;
    Ok(AuditClaim { packet, amount })
}

fn packet(packed: &mut Packed<'_>) -> Result<PacketId> {
    Ok(PacketId {
        wave: codec::small(packed.number()?, "a claim's wave")?,
        index: codec::small(packed.number()?, "a claim's index")?,
    })
}

/// What is left of a page.
struct Packed<'a>(&'a str);

impl<'a> Packed<'a> {
    /// The text before the next `mark`, which is passed over.
    fn until(&mut self, mark: char) -> Result<&'a str> {
        let (text, rest) = self.0.split_once(mark).ok_or_else(|| damaged("a field"))?;
        self.0 = rest;
        Ok(text)
    }

    /// The number before the next comma.
    fn number(&mut self) -> Result<i64> {
        self.until(',')?.parse().map_err(|_| damaged("a number"))
    }

    /// The next `bytes` bytes.
    fn text(&mut self, bytes: usize) -> Result<&'a str> {
        let (text, rest) = self
            .0
            .split_at_checked(bytes)
            .ok_or_else(|| damaged("a user"))?;
        self.0 = rest;
        Ok(text)
    }

    /// The end of a row.
    fn end(&mut self) -> Result<()> {
        self.0 = self.0.strip_prefix(';').ok_or_else(|| damaged("a row"))?;
        Ok(())
    }
}

fn damaged(what: &str) -> LedgerError {
    corrupt(format!("{what} of a packed claim cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_sign_may_stand_in_a_user() {
        let page = "1,2,300,-1,99,-3,1,,6,a,;\u{e9}b;2,1,7,4,100,0,2,000102030405060708090A0B0C0D0E0F,1,x;";
        let mut packed = Packed(page);
        let (user, first) = win(&mut packed).unwrap();
        assert_eq!(user.as_str(), "a,;\u{e9}b");
        assert_eq!(
            (first.packet.index, first.period, first.tier),
            (2, -3, None)
        );
        let (user, second) = win(&mut packed).unwrap();
        assert_eq!((user.as_str(), second.tier), ("x", Some(4)));
        assert!(second.grab_id.is_some());
        assert!(packed.0.is_empty());
    }

    #[test]
    fn a_damaged_page_is_refused() {
        for page in [
            "1,2",
            "1,2,3,-1,9,0,1,,9,x;",
            "1,2,3,-1,9,0,1,,1,xy;",
            "1,2,-3,-1,9,0,1,,1,x;",
        ] {
            assert!(win(&mut Packed(page)).is_err(), "{page}");
        }
        assert!(claim(&mut Packed("1,2,x;")).is_err());
    }
}
