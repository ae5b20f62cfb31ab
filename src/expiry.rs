//! Arithmetic of a token's life: how long it is, until when it is handed out, when to refresh it ahead. Pure.

use std::time::Duration;

use crate::clock::nanos;

/// A token's life when neither the reply, nor a JWT, nor the request, nor the provider's description tells.
pub(crate) const DEFAULT_TTL: Duration = Duration::from_secs(300);
/// No token is trusted for longer, whatever the reply says.
pub(crate) const MAX_TTL: Duration = Duration::from_secs(31 * 24 * 3600);
/// The least life a token has left when it is handed out, unless it is short-lived.
const MIN_VALID: Duration = Duration::from_secs(10);
/// A token is refreshed ahead a tenth of its life before it must be renewed, but not earlier than this.
const LEAD_MAX: Duration = Duration::from_secs(300);
/// So near its end a scarce token might be dead when it gets to the API.
const LAST: Duration = Duration::from_secs(2);
/// A token that arrives without life is handed out for this long, so that no life makes more than one request a second.
const GRACE: Duration = Duration::from_secs(1);

/// When a token was asked for, when it came, how long it lives. Times are nanoseconds since boot, worked out once:
/// whoever reads a cached token compares and adds, and divides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    pub(crate) life: Duration,
    ends: u64,
    /// Until then it is handed out even without life.
    grace: u64,
    margin: u64,
    lead: u64,
    half: u64,
    /// No other may be asked for while this one lives.
    scarce: bool,
    /// 0..=255, drawn once per token: spreads a fleet's refreshes.
    jitter: u64,
}

/// What a caller wants of a token's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// Set by the host; else the default applies. Nanoseconds.
    pub(crate) min_valid: Option<u64>,
    pub(crate) refresh_ahead: RefreshAhead,
}

/// The `refresh_ahead` option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefreshAhead {
    Auto,
    Off,
    /// Nanoseconds.
    Lead(u64),
}

impl Wishes {
    pub(crate) const NONE: Wishes = Wishes { min_valid: None, refresh_ahead: RefreshAhead::Auto };
}

impl Lifetime {
    /// `sent`: before the request left, since the provider cannot have started counting earlier. Times since boot.
    pub(crate) fn new(sent: Duration, received: Duration, life: Duration, jitter: u8) -> Lifetime {
        Lifetime {
            life,
            ends: nanos(sent.saturating_add(life)),
            grace: nanos(received.saturating_add(GRACE)),
            margin: nanos(MIN_VALID.min(life / 10)),
            lead: nanos(LEAD_MAX.min(life / 10)),
            half: nanos(life / 2),
            scarce: false,
            jitter: jitter.into(),
        }
    }

    /// Of a token that no other is asked for before its end, which the provider may have counted from its reply on.
    pub(crate) fn scarce(received: Duration, life: Duration) -> Lifetime {
        let margin = nanos(LAST.min(life / 2));
        Lifetime { margin, scarce: true, ..Lifetime::new(received, received, life, 0) }
    }

    /// Its end, if it is too near for the token to be handed out and too far for another to be asked for.
    pub(crate) fn awaited_end(&self, now: u64) -> Option<u64> {
        let is_last = self.scarce && (self.fresh_until(Wishes::NONE)..self.ends).contains(&now);
        is_last.then_some(self.ends)
    }

    /// Until when the token may be handed out: its end less the margin, but at least for a second after it came.
    pub(crate) fn fresh_until(&self, wishes: Wishes) -> u64 {
        let margin = wishes.min_valid.map_or(self.margin, |wanted| wanted.min(self.half));
        self.ends.saturating_sub(margin).max(self.grace)
    }

    /// Until when the token means anything: a slot without a client is kept so long, and whoever set no margin gets it
    /// where no other is to be had.
    pub(crate) fn over(&self) -> u64 {
        self.ends.max(self.grace)
    }

    /// From when on one caller refreshes while the others keep getting this token: some time before they no longer do,
    /// but not within a second after it came.
    pub(crate) fn refresh_from(&self, wishes: Wishes) -> u64 {
        let lead = match wishes.refresh_ahead {
            _ if self.scarce => return u64::MAX,
            RefreshAhead::Off => return u64::MAX,
            RefreshAhead::Auto => self.lead,
            RefreshAhead::Lead(wanted) => wanted.min(self.half),
        };
        // Up to half the lead later, so that a fleet spreads and half of the lead stays for another try.
        let later = ((lead / 2) >> 8) * self.jitter;
        (self.fresh_until(wishes).saturating_sub(lead) + later).max(self.grace)
    }

    /// Whether it has served half its life at `now`: so long no token serves that an API rejects.
    pub(crate) fn has_served(&self, now: u64) -> bool {
        now >= self.ends.saturating_sub(self.half)
    }
}

/// What a reply says about the end of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The declared member, as a duration. Negative: already over.
    pub(crate) duration: Option<i64>,
    /// The declared member, as seconds since 1970.
    pub(crate) absolute: Option<i64>,
    /// The token's own `exp` claim (RFC 7519 section 4.1.4), seconds since 1970.
    pub(crate) jwt_exp: Option<i64>,
    /// The life that was asked for, seconds.
    pub(crate) requested: Option<i64>,
}

/// The life of a token, from what is told about it, where the provider's clock says `now` since 1970. The declared
/// member comes first, then the token's own claim, then what was asked for, then `default`; a duration and a claim
/// together: the earlier end, unless the claim is over already: nobody issues a dead token, so one of the clocks is
/// wrong, and a duration needs none.
pub(crate) fn life(told: Told, now: Duration, default: Duration, max: Duration) -> Duration {
    let seconds = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let left = |end: i64| seconds(end).saturating_sub(now);
    let claimed = told.jwt_exp.map(left);
    let life = match (told.duration.map(seconds), told.absolute) {
        (Some(duration), _) => Some(claimed.filter(|left| !left.is_zero()).map_or(duration, |left| left.min(duration))),
        (None, Some(end)) => Some(left(end)),
        (None, None) => claimed.or(told.requested.map(seconds)),
    };
    life.unwrap_or(default).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const NS: u64 = 1_000_000_000;
    const AUTO: Wishes = Wishes::NONE;

    fn wants(seconds: u64) -> Wishes {
        Wishes { min_valid: Some(NS * seconds), ..AUTO }
    }

    fn token_of(life: u32, jitter: u8) -> Lifetime {
        Lifetime::new(S * 1000, S * 1001, S * life, jitter)
    }

    #[test]
    fn a_token_is_handed_out_until_its_margin() {
        for (life, wishes, until) in [
            (3600, AUTO, 4590),      // ten seconds before the end
            (60, AUTO, 1054),        // a tenth of a short life
            (3600, wants(60), 4540), // what the host wants
            (60, wants(60), 1030),   // but at most half the life
            (3600, wants(0), 4600),  // nothing to spare
            (0, AUTO, 1002),         // no life: a second from its arrival
            (2, wants(100), 1002),   // shorter than that second
        ] {
            assert_eq!(token_of(life, 0).fresh_until(wishes), NS * until, "life {life}, {wishes:?}");
        }
    }

    #[test]
    fn a_token_is_refreshed_ahead_by_a_tenth_of_its_life_and_at_most_five_minutes() {
        let from = |life, jitter, refresh_ahead| {
            token_of(life, jitter).refresh_from(Wishes { min_valid: None, refresh_ahead }) / NS
        };
        for (life, jitter, refresh_ahead, at) in [
            (1000, 0, RefreshAhead::Auto, 1890),
            (1000, 255, RefreshAhead::Auto, 1939),
            (60, 0, RefreshAhead::Auto, 1048),
            (7200, 0, RefreshAhead::Auto, 7890),
            (7200, 0, RefreshAhead::Lead(NS * 60), 8130),
            (100, 0, RefreshAhead::Lead(NS * 60), 1040),
            (7200, 0, RefreshAhead::Off, u64::MAX / NS),
            (0, 0, RefreshAhead::Auto, 1002),
        ] {
            assert_eq!(from(life, jitter, refresh_ahead), at, "life {life}, jitter {jitter}, {refresh_ahead:?}");
        }
    }

    /// E-09.
    #[test]
    fn no_time_is_too_large() {
        let token = Lifetime::new(Duration::MAX, Duration::MAX, Duration::MAX, 255);
        let far = Wishes { min_valid: Some(u64::MAX), refresh_ahead: RefreshAhead::Lead(u64::MAX) };
        for wishes in [AUTO, far] {
            assert!(token.fresh_until(wishes) > 0 && token.refresh_from(wishes) > 0 && token.over() == u64::MAX);
        }
    }

    #[test]
    fn the_end_is_taken_from_the_first_source_that_tells() {
        let now = 1_000_000;
        let none = Told::default();
        let table = [
            ("nothing", none, 300),
            ("duration", Told { duration: Some(60), ..none }, 60),
            ("absolute", Told { absolute: Some(now + 70), ..none }, 70),
            ("claim", Told { jwt_exp: Some(now + 80), ..none }, 80),
            ("request", Told { requested: Some(90), ..none }, 90),
            ("claim before request", Told { jwt_exp: Some(now + 80), requested: Some(90), ..none }, 80),
            ("earlier claim", Told { duration: Some(60), jwt_exp: Some(now + 50), ..none }, 50),
            ("claim that is over", Told { duration: Some(60), jwt_exp: Some(now - 1), ..none }, 60),
            ("claim that is over, and nothing else", Told { jwt_exp: Some(now - 1), ..none }, 0),
            ("later claim", Told { duration: Some(60), jwt_exp: Some(now + 90), ..none }, 60),
            ("zero", Told { duration: Some(0), ..none }, 0),
            ("negative", Told { duration: Some(-5), ..none }, 0),
            ("past", Told { absolute: Some(now - 5), ..none }, 0),
            ("huge", Told { duration: Some(i64::MAX), ..none }, 31 * 86_400),
            ("far", Told { absolute: Some(i64::MAX), ..none }, 31 * 86_400),
            ("long ago", Told { absolute: Some(i64::MIN), ..none }, 0),
        ];
        for (what, told, seconds) in table {
            assert_eq!(life(told, S * now as u32, DEFAULT_TTL, MAX_TTL), S * seconds, "{what}");
        }
    }
}
