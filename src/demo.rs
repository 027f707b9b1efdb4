//! (in work)
use std::fmt;
/// X
#[derive(Debug)] pub struct DemoSettings { /// x
 pub cores: String }
/// X
#[derive(Debug)] pub struct DemoError;
impl fmt::Display for DemoError { fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result { Ok(()) } }
/// X
pub fn run(_: DemoSettings) -> Result<(), DemoError> { Err(DemoError) }
