//! The body of [`Terms`], the part of a request by which the planner decides.

use workman_core::store::Terms;
use workman_core::{Backoff, BackoffPolicy, OnDeath, OnInterruption, OutOfQuotaPolicy, Schedule, Timestamp};

use super::{Body, CodecError, Decoded, Encoded, Reader, Writer};

impl Body for Terms {
    fn write(&self, to: &mut Writer) -> Encoded {
        to.byte(self.priority.cast_unsigned());
        to.duration(self.initial_delay);
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
        let (has_moment, expires) = (self.run_at > Timestamp::MIN, self.expires_at < Timestamp::MAX);
        to.bits([self.discards_output, has_moment, expires]);
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
        if has_moment {
            to.time(self.run_at);
        }
        if expires {
            to.time(self.expires_at);
        }
        Ok(())
    }

    fn read(from: &mut Reader<'_>) -> Decoded<Self> {
        let (has_moment, expires);
        Ok(Terms {
            priority: from.byte()?.cast_signed(),
            initial_delay: from.duration()?,
            backoff: read_backoff(from)?,
            max_attempts: from.option(Reader::u32)?,
            retention: from.duration()?,
            on_death: match from.byte()? {
                1 => OnDeath::Park,
                2 => OnDeath::Fail,
                byte => return Err(CodecError::Unknown("death policy", byte)),
            },
            discards_output: {
                let bits: [bool; 3] = from.bits("term")?;
                (has_moment, expires) = (bits[1], bits[2]);
                bits[0]
            },
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
            run_at: if has_moment { from.time()? } else { Timestamp::MIN },
            expires_at: if expires { from.time()? } else { Timestamp::MAX },
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
