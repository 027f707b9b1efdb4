//! Which methods there are, and which of them are served.

use crate::failure::{Code, Failure};

/// A method that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    ObserveStream,
    MemoryStream,
    MemoryFlow,
    StreamingRemember,
    StreamingRecall,
    RecallStream,
    Recall,
    Remember,
    Forget,
    Stream,
    Introspect,
    HealthCheck,
    HealthWatch,
    Reflection,
}

const ENGRAM: &str = "engram.v1.EngramService";
const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";
const REFLECTION_ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

/// The services of this server, by their full names.
pub(super) const SERVICES: [&str; 4] = [ENGRAM, HEALTH, REFLECTION, REFLECTION_ALPHA];

/// Whether `path` begins with one of the services' names.
pub(super) fn is_service_path(path: &str) -> bool {
    split(path).is_some_and(|(service, _)| SERVICES.contains(&service))
}

/// The method at `path`; UNIMPLEMENTED with a text that says which one is not served.
pub(super) fn of_path(path: &str) -> Result<Method, Failure> {
    match split(path) {
        Some((ENGRAM, "ObserveStream")) => Ok(Method::ObserveStream),
        Some((ENGRAM, "MemoryStream")) => Ok(Method::MemoryStream),
        Some((ENGRAM, "MemoryFlow")) => Ok(Method::MemoryFlow),
        Some((ENGRAM, "StreamingRemember")) => Ok(Method::StreamingRemember),
        Some((ENGRAM, "StreamingRecall")) => Ok(Method::StreamingRecall),
        Some((ENGRAM, "RecallStream")) => Ok(Method::RecallStream),
        Some((ENGRAM, "Recall")) => Ok(Method::Recall),
        Some((ENGRAM, "Remember")) => Ok(Method::Remember),
        Some((ENGRAM, "Stream")) => Ok(Method::Stream),
        Some((ENGRAM, "Introspect")) => Ok(Method::Introspect),
        Some((ENGRAM, "Forget")) => Ok(Method::Forget),
        Some((HEALTH, "Check")) => Ok(Method::HealthCheck),
        Some((HEALTH, "Watch")) => Ok(Method::HealthWatch),
        Some((REFLECTION | REFLECTION_ALPHA, "ServerReflectionInfo")) => Ok(Method::Reflection),
        Some((_, method)) => {
            Err(Failure::new(Code::Unimplemented, format!("{method} is not served by engram")))
        }
        None => Err(Failure::new(Code::Unimplemented, format!("{path} is not a method"))),
    }
}

fn split(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix('/')?.split_once('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_methods() {
        assert_eq!(of_path("/engram.v1.EngramService/ObserveStream"), Ok(Method::ObserveStream));
        assert_eq!(of_path("/grpc.health.v1.Health/Check"), Ok(Method::HealthCheck));
        for service in [REFLECTION, REFLECTION_ALPHA] {
            assert_eq!(
                of_path(&format!("/{service}/ServerReflectionInfo")),
                Ok(Method::Reflection)
            );
        }
    }

    #[test]
    fn what_is_not_served_says_so() {
        let refusal = of_path("/engram.v1.EngramService/Dream").unwrap_err();
        assert_eq!(refusal, Failure::new(Code::Unimplemented, "Dream is not served by engram"));
        assert_eq!(of_path("/other.Service/Recall").unwrap_err().code, Code::Unimplemented);
        assert_eq!(of_path("nonsense").unwrap_err().code, Code::Unimplemented);
    }

    #[test]
    fn only_our_services_paths_are_grpc() {
        assert!(is_service_path("/engram.v1.EngramService/Anything"));
        assert!(!is_service_path("/api/v1/spaces"));
        assert!(!is_service_path("/health"));
    }
}
