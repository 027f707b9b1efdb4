//! Beginning and resuming a session.
