//! The body of [`Terms`], the part of a request by which the planner decides.

use workman_core::store::Terms;
use workman_core::{Backoff, BackoffPolicy, OnDeath, OnInterruption, OutOfQuotaPolicy, Schedule};

use super::{Body, CodecError, Decoded, Encoded, Reader, Writer};

impl Body for Terms {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.byte(self.priority.cast_unsigned());
        to.duration(self.initial_delay);
        to.option(self.run_at.as_ref(), |to, at| to.timed(*at))?;
        to.byte(match self.backoff.policy() {
            BackoffPolicy::Linear => 1,
            BackoffPolicy::Exponential => 2,
            BackoffPolicy::Custom => 3,
        });
        to.duration(self.backoff.first_delay());
        to.duration(self.backoff.max_delay());
        to.byte(self.backoff.jitter_percent());
        to.option(self.max_attempts.as_ref(), |to, attempts| {
            to.u32(*attempts);
            Ok(())
        })?;
        to.duration(self.retention);
        to.byte(match self.on_death {
            OnDeath::Park => 1,
            OnDeath::Fail => 2,
        });
        to.flag(self.discards_output);
        match &self.schedule {
            Schedule::Once => to.byte(1),
            Schedule::Every { interval, flex } => {
                to.byte(2);
                to.duration(*interval);
                to.duration(*flex);
            }
            _ => return Err(CodecError::Unstorable("this kind of schedule")),
        }
        to.option(self.timeout.as_ref(), |to, timeout| {
            to.duration(*timeout);
            Ok(())
        })?;
        to.byte(match self.on_interruption {
            OnInterruption::RunAgain => 1,
            OnInterruption::BackOff => 2,
        });
        to.byte(match self.expedited {
            None => 0,
            Some(OutOfQuotaPolicy::RunAsNonExpeditedWorkRequest) => 1,
            Some(OutOfQuotaPolicy::DropWorkRequest) => 2,
        });
        to.option(self.expires_at.as_ref(), |to, at| to.timed(*at))
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        Ok(Terms {
            priority: from.byte()?.cast_signed(),
            initial_delay: from.duration()?,
            run_at: from.option(Reader::time)?,
            backoff: read_backoff(from)?,
            max_attempts: from.option(Reader::u32)?,
            retention: from.duration()?,
            on_death: match from.byte()? {
                1 => OnDeath::Park,
                2 => OnDeath::Fail,
                byte => return Err(CodecError::Unknown("death policy", byte)),
            },
            discards_output: from.flag()?,
            schedule: match from.byte()? {
                1 => Schedule::Once,
                2 => Schedule::every(from.duration()?).flex(from.duration()?),
                byte => return Err(CodecError::Unknown("schedule", byte)),
            },
            timeout: from.option(Reader::duration)?,
            on_interruption: match from.byte()? {
                1 => OnInterruption::RunAgain,
                2 => OnInterruption::BackOff,
                byte => return Err(CodecError::Unknown("interruption policy", byte)),
            },
            expedited: match from.byte()? {
                0 => None,
                1 => Some(OutOfQuotaPolicy::RunAsNonExpeditedWorkRequest),
                2 => Some(OutOfQuotaPolicy::DropWorkRequest),
                byte => return Err(CodecError::Unknown("out-of-quota policy", byte)),
            },
            expires_at: from.option(Reader::time)?,
        })
    }
}

fn read_backoff(from: &mut Reader<'_>) -> Decoded<Backoff> {
    let policy = match from.byte()? {
        1 => BackoffPolicy::Linear,
        2 => BackoffPolicy::Exponential,
        3 => BackoffPolicy::Custom,
        byte => return Err(CodecError::Unknown("backoff policy", byte)),
    };
    Ok(Backoff::new(policy, from.duration()?).ceiling(from.duration()?).jitter(from.byte()?))
}
