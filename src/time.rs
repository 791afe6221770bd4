//! Points in time as the host gives them, and the little calendar that windows and dates need.

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(pub u64);

/// A fixed offset from UTC in seconds, east positive (`timezone: "+09:00"`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct UtcOffset(pub i32);
