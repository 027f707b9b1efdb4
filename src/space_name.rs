//! Names of spaces: which there may be, and what stands behind one that is new.

use engram_shards::limits::{SPACE_NAME_BYTES_MAX, SPACE_NAME_BYTES_MIN};
use engram_shards::settings::{Metric, SpaceSettings};

use crate::failure::{Code, Failure};
use crate::limits::SPACE_DIMENSION_DEFAULT;

/// The space of requests that name none.
const SPACE_NAME_DEFAULT: &str = "default";

/// The name of the space that a request means.
pub(crate) fn space_name(name: &str) -> Result<&str, Failure> {
    let name = if name.is_empty() { SPACE_NAME_DEFAULT } else { name };
    check_space_name(name)?;
    Ok(name)
}

/// Whether `name` may be a space's.
pub fn check_space_name(name: &str) -> Result<(), Failure> {
    let long_enough = (SPACE_NAME_BYTES_MIN..=SPACE_NAME_BYTES_MAX).contains(&name.len());
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    if long_enough && name.bytes().all(allowed) {
        return Ok(());
    }
    let message = format!(
        "Invalid memory_space_id: {SPACE_NAME_BYTES_MIN} to {SPACE_NAME_BYTES_MAX} of a-z 0-9 - _ are allowed"
    );
    Err(Failure::new(Code::InvalidArgument, message))
}

/// What a space is made with by a first init or Remember.
pub fn default_settings(name: &str) -> SpaceSettings {
    SpaceSettings {
        name: name.to_owned(),
        dimension: SPACE_DIMENSION_DEFAULT,
        metric: Metric::Cosine,
        stripes: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_space_name_is_the_default_one_and_a_bad_one_is_refused() {
        assert_eq!(space_name(""), Ok("default"));
        assert_eq!(space_name("robots-1"), Ok("robots-1"));
        for bad in ["ab", "Robots", "a b c", &"x".repeat(65)] {
            assert_eq!(space_name(bad).unwrap_err().code, Code::InvalidArgument, "{bad}");
        }
    }
}
