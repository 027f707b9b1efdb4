//! The page at `/console/observe`: a browser observes and recalls through the TypeScript client.
//!
//! ```text
//!  observe.html ─┬─► observe.css
//!                └─► observe.js ─┬─► embedding.js
//!                                └─► client/*.js ─► GET /v1/stream (WebSocket)
//! ```
//! | file | responsibility |
//! |---|---|
//! | `observe.html`, `observe.css` | what is seen |
//! | `observe.js` | what is typed becomes observations and recalls |
//! | `embedding.js` | a vector of a text, where there is no model to make one |
//! | `client/` | `tools/clients/typescript` as it is built for browsers; a test there compares them |
//!
//! **Invariant:** the page loads nothing from elsewhere, and its policy lets it neither load nor tell anyone anything.

use bytes::Bytes;
use http::{HeaderValue, Response, header};

/// Everything is of this server, and nothing may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asset {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! script {
    ($name:literal) => {
        Asset { path: concat!("/console/", $name), content_type: SCRIPT, text: include_str!($name) }
    };
}

static ASSETS: [Asset; 15] = [
    Asset {
        path: "/console/observe",
        content_type: "text/html; charset=utf-8",
        text: include_str!("observe.html"),
    },
    Asset {
        path: "/console/observe.css",
        content_type: "text/css; charset=utf-8",
        text: include_str!("observe.css"),
    },
    script!("observe.js"),
    script!("embedding.js"),
    script!("client/backoff.js"),
    script!("client/base64.js"),
    script!("client/connection.js"),
    script!("client/errors.js"),
    script!("client/events.js"),
    script!("client/index.js"),
    script!("client/messages.js"),
    script!("client/promises.js"),
    script!("client/recalls.js"),
    script!("client/session.js"),
    script!("client/window.js"),
];

impl Asset {
    /// The file at a path.
    pub(crate) fn at(path: &str) -> Option<&'static Asset> {
        ASSETS.iter().find(|asset| asset.path == path)
    }

    /// The answer that brings it.
    pub(crate) fn response(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from_static(self.text.as_bytes()));
        let headers = [
            (header::CONTENT_TYPE, self.content_type),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            // Another version of the server has another page.
            (header::CACHE_CONTROL, "no-cache"),
        ];
        for (name, value) in headers {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The modules that a script imports, as paths.
    fn imports(script: &Asset) -> Vec<String> {
        let folder = &script.path[..=script.path.rfind('/').expect("a path")];
        script
            .text
            .split("from './")
            .skip(1)
            .map(|rest| format!("{folder}{}", rest.split('\'').next().expect("a name")))
            .collect()
    }

    #[test]
    fn whatever_a_script_imports_is_served_and_whatever_is_served_is_needed() {
        let scripts = || ASSETS.iter().filter(|asset| asset.content_type == SCRIPT);
        let mut needed: Vec<String> = scripts().flat_map(imports).collect();
        needed.sort();
        needed.dedup();
        let mut served: Vec<&str> = scripts().map(|asset| asset.path).collect();
        served.retain(|path| *path != "/console/observe.js");
        served.sort_unstable();
        assert_eq!(needed, served);
        let page = Asset::at("/console/observe").expect("the page").text;
        assert!(page.contains(r#"src="observe.js""#) && page.contains(r#"href="observe.css""#));
    }

    #[test]
    fn an_answer_has_its_type_and_the_policy() {
        let response = Asset::at("/console/observe").expect("the page").response();
        let value = |name| response.headers()[name].to_str().expect("text");
        assert_eq!(value(header::CONTENT_TYPE), "text/html; charset=utf-8");
        assert!(value(header::CONTENT_SECURITY_POLICY).starts_with("default-src 'none';"));
        assert_eq!(Asset::at("/console/"), None);
    }
}
