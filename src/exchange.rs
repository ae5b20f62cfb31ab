//! The one story of getting a token: what the store knows, whose turn it is, what the budget allows, and then the
//! provider.

mod ask;

use std::sync::Arc;
use std::time::Duration;

use crate::account::Account;
use crate::budget::{Allowance, Ledger};
use crate::cache::{AHEAD_MAX, Counter, Counters, Fetched, Need, Rejected};
use crate::clock::{Clock, Deadline, Stamp, nanos};
use crate::cooldown::Failure;
use crate::credential::{Fingerprint, fingerprint};
use crate::error::{Error, ErrorKind, RetryClass};
use crate::expiry::Lifetime;
use crate::log::LogLevel;
use crate::request::Random;
use crate::secret::Secret;
use crate::settings::Settings;
use crate::share::{Kept, Known, Share};
use crate::store::Store;
use crate::token::Token;
use crate::transport::Transport;

use ask::{Held, Issued};

/// Everything that getting a token takes.
pub(crate) struct Exchange<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) fingerprint_key: &'a [u8; 32],
    pub(crate) account: &'a Account,
    pub(crate) clock: &'a Arc<dyn Clock>,
    /// What is shared with other processes, if anything is; and where this call gets at it, if that is not the same.
    pub(crate) store: Option<&'a dyn Store>,
    pub(crate) visit: Option<Box<dyn Store>>,
    pub(crate) transport: &'a dyn Transport,
    pub(crate) random: Random<'a>,
    pub(crate) counters: &'a Counters,
    /// What the slot holds, dead or alive, and what was rejected last: no news, where the store still has it.
    pub(crate) had: [Option<Token>; 2],
}

/// Whoever lost the turn leaves it to others for so long.
const LOST: Duration = Duration::from_millis(50);

/// The outer error is the store's: nothing was sent.
type OrOutage<T> = Result<T, Error>;

impl Exchange<'_> {
    /// A token from the store, unless it is due for renewal itself, or from the provider. `knock`: with a single
    /// attempt, since the last ones failed.
    pub(crate) fn fetch(&self, need: Need, deadline: &Deadline, knock: bool) -> Result<Fetched, Failure> {
        let secret = self.settings.credential.read().inspect_err(|error| self.failed(error))?;
        let Some(share) = self.share(&secret).inspect_err(|error| self.failed(error))? else {
            return self.ask(&secret, None, deadline, knock).map(|issued| issued.fetched);
        };
        let outcome = match self.fetch_shared(&share, &secret, need, deadline, knock) {
            Ok(outcome) => outcome,
            // A store that fails costs requests, not tokens. Where requests are counted, it is the other way round.
            Err(outage) if self.settings.budget.is_none() => {
                self.warn(&outage);
                self.ask(&secret, None, deadline, knock).map(|issued| issued.fetched)
            }
            Err(outage) => {
                self.failed(&outage);
                // The next call looks again.
                let held_until = Some(self.clock.since_boot());
                Err(Failure { error: outage, credential: None, held_until })
            }
        };
        // One that is due for renewal lives yet.
        outcome.or_else(|failure| (need == Need::Any).then(|| self.stored()).flatten().ok_or(failure))
    }

    fn fetch_shared(
        &self,
        share: &Share<'_>,
        secret: &Secret,
        need: Need,
        deadline: &Deadline,
        knock: bool,
    ) -> OrOutage<Result<Fetched, Failure>> {
        let credential = fingerprint(self.fingerprint_key, secret);
        let began = self.clock.since_boot();
        let known = match self.look(share, credential, need, began, deadline)? {
            (Some(outcome), _) => return Ok(outcome),
            (None, known) => known,
        };
        // Whoever has a valid token to go back to does not wait long for another.
        let shorter = Deadline::after(self.clock, AHEAD_MAX.min(deadline.remaining() / 2));
        let has_another = need == Need::Any && self.usable(&known, &self.had).is_some();
        let deadline = if has_another { &shorter } else { deadline };
        let late = || {
            let message = "another process's request took longer than this call may; ask again, or raise timeout_ms";
            Err(Error::store_timeout(message).into())
        };
        // A change that does not answer this call is heard of once.
        let mut hears = true;
        loop {
            let turn = match share.turn(deadline, hears) {
                Err(error) if error.kind() == ErrorKind::Timeout => return Ok(late()),
                turn => turn?,
            };
            // Whoever had the turn before may have left something, or whoever has it.
            let known = match self.look(share, credential, need, began, deadline)? {
                (Some(outcome), _) => return Ok(outcome),
                (None, known) => known,
            };
            let Some(turn) = turn else {
                hears = false;
                continue;
            };
            let came = || {
                let known_now = share.known(deadline)?;
                if let Some(met) = share.met(deadline)? {
                    self.account.learn_of(credential, met);
                }
                let now = self.clock.since_boot();
                let cools = known_now.cooldown.binds(now, deadline.timeout, None).is_some();
                let held = self.account.holds(credential, self.settings.provider.limits.lockout, now);
                Ok(cools || held.is_some() || self.came_since(&known, &known_now, None).is_some())
            };
            let turn = Held::new(turn, &came);
            let outcome = self.ask(secret, Some(&turn), deadline, knock || known.cooldown.is_streak());
            if !turn.is_lost() {
                return Ok(self.remember(share, credential, &known, outcome, deadline));
            }
            if deadline.remaining().is_zero() {
                return Ok(late());
            }
            drop(turn);
            deadline.pause(LOST);
        }
    }

    /// What the others know, and whether it answers this call, which `began` then.
    fn look(
        &self,
        share: &Share<'_>,
        credential: Fingerprint,
        need: Need,
        began: Duration,
        deadline: &Deadline,
    ) -> OrOutage<(Option<Result<Fetched, Failure>>, Known)> {
        let known = share.known(deadline)?;
        let now = self.clock.since_boot();
        // Where the brake is closed, the one that is in service here is the answer too.
        let had = if need == Need::New && known.brake.is_closed(now) { &self.had[1..] } else { &self.had };
        if let Some((kept, fetched)) = self.usable(&known, had) {
            let answers = match need {
                Need::Any => nanos(now) < fetched.lifetime.refresh_from(self.settings.wishes),
                Need::New => known.brake.is_closed(now) || kept.sent.age(&share.now()) <= now.saturating_sub(began),
            };
            // A scarce token in its last moments: none is asked for before they are over.
            match fetched.lifetime.awaited_end(nanos(now)).map(Duration::from_nanos) {
                Some(end) if answers && end + deadline.enough() <= deadline.at && self.may_ask_at(end) => {
                    self.clock.sleep(end);
                }
                _ if answers => {
                    self.counters.add(Counter::StoreHits);
                    if let Some(ledger) = self.ledger() {
                        ledger.put_back(deadline);
                    }
                    return Ok((Some(Ok(fetched)), known));
                }
                _ => {}
            }
        }
        let now = self.clock.since_boot();
        if let Some(bound) = known.cooldown.binds(now, deadline.timeout, None) {
            let held_until = bound.error.retry_after().map(|left| now.saturating_add(left));
            let failure = Failure { error: bound.error, credential: None, held_until };
            return Ok((Some(Err(self.held(failure))), known));
        }
        if let Some(met) = share.met(deadline)? {
            self.account.learn_of(credential, met);
        }
        let held = self.account.holds(credential, self.settings.provider.limits.lockout, now);
        Ok((held.map(|failure| Err(self.held(failure))), known))
    }

    /// Tells the others what came of it.
    fn remember(
        &self,
        share: &Share<'_>,
        credential: Fingerprint,
        before: &Known,
        outcome: Result<Issued, Failure>,
        deadline: &Deadline,
    ) -> Result<Fetched, Failure> {
        let (pace, deadline) = (self.settings.pace(), &deadline.to_write());
        let failure = match outcome {
            Ok(issued) => {
                let kept = Kept::new(&issued.fetched, issued.sent, issued.took);
                let mut newer = None;
                self.warned(share.change(deadline, &mut |known| {
                    newer = self.came_since(before, known, Some(&issued.sent));
                    if newer.is_some() {
                        return false;
                    }
                    known.cooldown.end();
                    // Unless it is forgotten how often all was forgotten.
                    if known.cleared <= before.cleared {
                        let now = self.clock.since_boot();
                        let served = known.token.as_ref().is_some_and(|before| self.has_served(before, &share.now()));
                        known.brake.replaced(served, pace, now);
                        known.token = Some(kept.clone());
                    }
                    true
                }));
                self.settle(&issued, deadline);
                if issued.ends_trouble {
                    self.warned(share.meet(&self.account.met(credential, self.clock.since_boot()), deadline));
                }
                return Ok(newer.unwrap_or(issued.fetched));
            }
            Err(failure) => failure,
        };
        // One that ran out of time binds nobody who has more; another is remembered elsewhere.
        let ran_out = failure.error.kind() == ErrorKind::Timeout && failure.error.retry_class() == RetryClass::NotSent;
        if ran_out {
            return Err(failure);
        }
        let met = self.account.met(credential, self.clock.since_boot());
        if !met.is_nothing() {
            self.warned(share.meet(&met, deadline));
        }
        if failure.held_until.is_some() {
            return Err(failure);
        }
        // Whose it is, is in the document's name.
        let nameless = Failure { credential: None, ..failure.clone() };
        let (mut held_until, mut wait) = (None, Duration::ZERO);
        let changed = share.change(deadline, &mut |known| {
            let now = self.clock.since_boot();
            held_until = known.cooldown.begin(&nameless, 0, deadline.timeout, pace, now);
            wait = held_until.unwrap_or_default().saturating_sub(now);
            held_until.is_some()
        });
        if let Err(error) = changed {
            self.warn(&error);
            return Err(failure); // and only this process remembers
        }
        if held_until.is_some() {
            let seconds = wait.as_millis().div_ceil(1000);
            self.settings.log.line(LogLevel::Info, || {
                format!("{}: cools down: no process asks for {seconds} s", self.settings.provider.name)
            });
        }
        Err(Failure { held_until, ..failure })
    }

    /// A token that came since `before`, and was asked for after `sent`: by somebody who had the turn when this one's
    /// was over, by a lease that ended in a long pause.
    fn came_since(&self, before: &Known, known: &Known, sent: Option<&Stamp>) -> Option<Fetched> {
        let now = self.now();
        let (kept, fetched) = self.usable(known, &self.had)?;
        let is_another = before.token.as_ref().is_none_or(|before| before.value != kept.value);
        let is_later = sent.is_none_or(|sent| kept.sent.age(&now) <= sent.age(&now));
        (is_another && is_later).then_some(fetched)
    }

    /// What the store has, if it is news and will do.
    pub(crate) fn stored(&self) -> Option<Fetched> {
        self.store()?;
        let secret = self.settings.credential.read().ok()?;
        let share = self.share(&secret).ok()??;
        let known = share.glimpse().inspect_err(|error| self.warn(error)).ok()??;
        let (_, fetched) = self.usable(&known, &self.had)?;
        self.counters.add(Counter::StoreHits);
        Some(fetched)
    }

    /// The API rejected this token: what becomes of it for all processes. `None`: they share nothing.
    pub(crate) fn reject(&self, rejected: &Token) -> OrOutage<Option<Rejected>> {
        if self.store().is_none() {
            return Ok(None);
        }
        let Some(share) = self.share(&self.settings.credential.read()?)? else { return Ok(None) };
        let mut outcome = Rejected::Unknown;
        share.change(&self.deadline(), &mut |known| {
            let (now, before) = (self.clock.since_boot(), known.brake);
            outcome = match &known.token {
                None => Rejected::Unknown,
                Some(kept) if !kept.is(rejected) => Rejected::Replaced,
                Some(kept) => {
                    match known.brake.reject(self.has_served(kept, &share.now()), self.settings.pace(), now) {
                        true => {
                            known.token = None;
                            Rejected::Dropped
                        }
                        false => Rejected::Kept(known.brake.closed_for(now)),
                    }
                }
            };
            outcome == Rejected::Dropped || known.brake != before
        })?;
        Ok(Some(outcome))
    }

    /// Forgets token and failures for all processes.
    pub(crate) fn clear(&self) -> OrOutage<()> {
        self.account.forgive();
        if self.store().is_none() {
            return Ok(());
        }
        let secret = self.settings.credential.read()?;
        let Some(share) = self.share(&secret)? else { return Ok(()) };
        let deadline = self.deadline();
        share.change(&deadline, &mut |known| {
            known.cleared += 1;
            known.cooldown.end();
            known.token = None;
            true
        })?;
        let credential = fingerprint(self.fingerprint_key, &secret);
        share.meet(&self.account.met(credential, self.clock.since_boot()), &deadline)
    }

    /// Whether the budget, if there is one, has a request at that time, as far as it can be known.
    pub(crate) fn may_ask_at(&self, time: Duration) -> bool {
        let refusal = self.ledger().and_then(|ledger| ledger.check().err());
        refusal.is_none_or(|refusal| {
            refusal.error.kind() == ErrorKind::Quota && refusal.held_until.is_some_and(|until| until <= time)
        })
    }

    /// What the budget allows, if there is one.
    pub(crate) fn allowance(&self) -> OrOutage<Option<Allowance>> {
        self.ledger().map(|ledger| ledger.allowance()).transpose()
    }

    fn share(&self, secret: &Secret) -> Result<Option<Share<'_>>, Error> {
        self.store().map(|store| Share::new(self.settings, store, &**self.clock, self.random, secret)).transpose()
    }

    fn store(&self) -> Option<&dyn Store> {
        self.visit.as_deref().or(self.store)
    }

    fn now(&self) -> Stamp {
        Stamp::now(&**self.clock, self.store().and_then(Store::since_epoch))
    }

    /// The token that the others have, if it is news here and lives.
    fn usable<'k>(&self, known: &'k Known, had: &[Option<Token>]) -> Option<(&'k Kept, Fetched)> {
        let kept = known.token.as_ref()?;
        if had.iter().flatten().any(|had| kept.is(had)) {
            return None; // by the clock that nobody sets its time is over here, or due; or it was rejected
        }
        let lifetime = self.lifetime(kept, &self.now())?;
        let now = nanos(self.clock.since_boot());
        let is_alive = now < lifetime.fresh_until(self.settings.wishes) || lifetime.awaited_end(now).is_some();
        let token = self.token(&kept.value, &kept.token_type, kept.scope.as_deref(), kept.expires_at()).ok()?;
        is_alive.then_some((kept, Fetched { token, lifetime }))
    }

    /// The life of a token that another process got, as this one would see it, had it asked itself. `None`: it is over.
    fn lifetime(&self, kept: &Kept, now: &Stamp) -> Option<Lifetime> {
        let (age, life) = (kept.sent.age(now), kept.life.min(self.settings.max_ttl));
        if let Some(sent) = now.since_boot.checked_sub(age) {
            return Some(self.life_of(sent, sent.saturating_add(kept.took), life));
        }
        // Asked for before this machine was up.
        let counted = if self.settings.budget.is_some() { age.saturating_sub(kept.took) } else { age };
        let left = life.saturating_sub(counted);
        (!left.is_zero()).then(|| self.life_of(now.since_boot, now.since_boot, left))
    }

    fn life_of(&self, sent: Duration, received: Duration, life: Duration) -> Lifetime {
        match self.settings.budget {
            Some(_) => Lifetime::scarce(received, life),
            None => Lifetime::new(sent, received, life, self.draw()),
        }
    }

    fn has_served(&self, kept: &Kept, now: &Stamp) -> bool {
        self.lifetime(kept, now).is_none_or(|lifetime| lifetime.has_served(nanos(now.since_boot)))
    }

    /// What goes by the budget, if there is one.
    fn ledger(&self) -> Option<Ledger<'_>> {
        let (budget, store) = (self.settings.budget.as_ref()?, self.store()?);
        Some(Ledger::new(self.settings, budget, store, self.account, &**self.clock))
    }

    /// The whole of a call's time.
    fn deadline(&self) -> Deadline {
        Deadline::after(self.clock, self.settings.timeout)
    }

    fn held(&self, failure: Failure) -> Failure {
        self.settings.log.line(LogLevel::Debug, || {
            format!("{}: no request during a cool-down: {}", self.settings.provider.name, failure.error)
        });
        failure
    }

    fn failed(&self, error: &Error) {
        self.counters.add(Counter::Failures);
        self.tell(error, Duration::ZERO, None);
    }

    fn warned(&self, outcome: OrOutage<()>) {
        if let Err(error) = outcome {
            self.warn(&error);
        }
    }

    fn warn(&self, error: &Error) {
        self.settings.log.line(LogLevel::Warning, || error.to_string());
    }

    /// For mere jitter the middle will do.
    fn draw(&self) -> u8 {
        let mut byte = [0];
        (self.random)(&mut byte).map_or(128, |()| byte[0])
    }
}
