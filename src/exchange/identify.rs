//! Who asks: a filter before this one says it, or the credential does.

use super::request::{Inbound, Property};
use super::{Exchange, Identity};
use crate::config::IdentitySource;
use crate::credential::Credential;
use crate::limit::{SharedData, failed_auth};
use crate::policy::{Opened, Place};
use crate::refusal::{Fired, Refusal};
use crate::time::Timestamp;

impl Exchange {
    /// Whether a filter before this one says in this field who asks; its underscores are hyphens already.
    pub(super) fn says_identity(&self, name: &[u8]) -> bool {
        let Some(IdentitySource::Headers { consumer, group }) = &self.policy.identity else {
            return false;
        };
        let mut names = consumer.iter().chain(group);
        names.any(|known| {
            let hyphen = |byte| if byte == b'_' { b'-' } else { byte };
            known.bytes().map(hyphen).eq(name.iter().copied())
        })
    }

    /// Finds out who asks, and what that caller may use.
    pub(super) fn identify(
        &mut self,
        credential: &Credential,
        inbound: Inbound<'_>,
        now: Timestamp,
        shared: &mut impl SharedData,
    ) -> Result<(), Refusal> {
        match self.open(credential, inbound, now) {
            Ok(opened) => {
                self.identity = Some(Identity::of(opened));
                Ok(())
            }
            Err(refusal) => Err(self.count_failure(refusal, inbound, now, shared)),
        }
    }

    /// A credential is refused, and perhaps for how often that was done.
    #[cold]
    fn count_failure(
        &self,
        refusal: Refusal,
        inbound: Inbound<'_>,
        now: Timestamp,
        shared: &mut impl SharedData,
    ) -> Refusal {
        let quota = self.policy.failed_auth_per_minute;
        if quota == 0 {
            return refusal;
        }
        let source = (inbound.property)(Property::Source);
        match failed_auth::check_and_count(shared, &source, quota, now) {
            failed_auth::Verdict::Within => refusal,
            failed_auth::Verdict::Over { retry_after_ms } => Refusal::RateLimited {
                fired: Fired {
                    limit: "failed_auth_per_minute".to_owned(),
                    quota: u64::from(quota),
                    scope: None,
                    group: None,
                },
                requests: true,
                wait_ms: retry_after_ms,
            },
        }
    }

    /// What the caller may use. Who a filter before this one says that it is comes before any key.
    fn open(
        &mut self,
        credential: &Credential,
        inbound: Inbound<'_>,
        now: Timestamp,
    ) -> Result<Opened, Refusal> {
        let policy = &self.policy;
        let property = inbound.property;
        let place = if policy.has_places() {
            policy.place(&property(Property::Route), &property(Property::Cluster))
        } else {
            Place::default()
        };
        let settled = match &policy.identity {
            Some(source) => settled_identity(source, inbound)?,
            None => None,
        };
        let opened = match (settled, credential) {
            (Some((consumer, group)), _) => {
                policy.identified(consumer.as_deref(), group.as_deref(), place, now)
            }
            (None, Credential::Ambiguous) => return Err(Refusal::AmbiguousCredentials),
            (None, Credential::Missing) => {
                return policy.anonymous(place, now).ok_or(Refusal::MissingKey);
            }
            (None, Credential::Key(digest)) => policy.authenticate(digest, place, now),
        };
        opened.map_err(|reason| {
            self.noted.detail = Some(reason.name());
            Refusal::InvalidKey
        })
    }
}

/// A consumer and a group, by their names.
type Named = (Option<String>, Option<String>);

/// Consumer and group, as a filter before this one has settled them; `None` if it has said nothing.
#[cold]
fn settled_identity(
    source: &IdentitySource,
    inbound: Inbound<'_>,
) -> Result<Option<Named>, Refusal> {
    let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Some(text.to_owned()).filter(|text| !text.is_empty())),
        Err(_) => Err(Refusal::InvalidKey),
    };
    let (consumer, group) = match source {
        IdentitySource::Headers { consumer, group } => {
            let read = |name: &Option<String>| {
                let Some(name) = name else {
                    return Ok(None);
                };
                let mut values = inbound.headers.all(name);
                match (values.next(), values.next()) {
                    (_, Some(_)) => Err(Refusal::AmbiguousCredentials),
                    (value, None) => text(value.unwrap_or_default()),
                }
            };
            (read(consumer)?, read(group)?)
        }
        IdentitySource::Metadata {
            filter,
            consumer,
            group,
        } => {
            let read = |path: &[String]| {
                if path.is_empty() {
                    return Ok(None);
                }
                text(&(inbound.property)(Property::Metadata(filter, path)))
            };
            (read(consumer)?, read(group)?)
        }
    };
    Ok((consumer.is_some() || group.is_some()).then_some((consumer, group)))
}
