//! Work on a thread beside the core: what may wait in the kernel for long.
//!
//! Whoever gives a file another name, makes one or removes one waits for the file system's journal where that is being
//! committed: tens of milliseconds in which a core could do nothing else.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `work` gives, once it is done there.
///
/// # Errors
/// Its own, and one where it panicked: it would never end otherwise.
pub async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let contained = || {
        catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|_| Err(io::Error::other("work beside the core panicked")))
    };
    glommio::executor().spawn_blocking(contained).await
}

#[cfg(test)]
mod tests {
    use glommio::LocalExecutor;

    use super::*;

    #[test]
    fn what_it_gives_and_what_it_panics_with_is_told() {
        LocalExecutor::default().run(async {
            assert_eq!(aside(|| Ok(7)).await.expect("it does nothing that fails"), 7);
            let failed = aside(|| Err::<(), _>(io::ErrorKind::NotFound.into())).await;
            assert_eq!(failed.expect_err("as it said").kind(), io::ErrorKind::NotFound);
            let panicked: io::Result<()> = aside(|| panic!("on purpose")).await;
            assert!(panicked.expect_err("a panic gives nothing").to_string().contains("panicked"));
        });
    }
}
