//! What the API counts.

use hyper::StatusCode;
use prometheus::{IntCounterVec, Opts, Registry};

use super::request::Route;

const STATUS_CLASSES: [&str; 3] = ["2xx", "4xx", "5xx"];

#[derive(Clone)]
pub(super) struct ApiMetrics {
    requests: IntCounterVec,
}

impl ApiMetrics {
    /// Makes them and registers them, every value for these routes present.
    ///
    /// # Errors
    /// When the registry has them already.
    pub(super) fn register(registry: &Registry, routes: &[Route]) -> Result<Self, prometheus::Error> {
        let help = "Requests to the internal listener, by route and class of the answer's status";
        let requests = IntCounterVec::new(Opts::new("roost_api_requests_total", help), &["route", "status"])?;
        registry.register(Box::new(requests.clone()))?;
        let metrics = Self { requests };
        metrics.prepare(routes);
        Ok(metrics)
    }

    /// Makes every value for these routes present.
    pub(super) fn prepare(&self, routes: &[Route]) {
        for route in routes {
            for class in STATUS_CLASSES {
                self.requests.with_label_values(&[route.label(), class]);
            }
        }
    }

    pub(super) fn count(&self, route: Route, status: StatusCode) {
        let class = match status.as_u16() {
            ..400 => "2xx",
            400..500 => "4xx",
            500.. => "5xx",
        };
        self.requests.with_label_values(&[route.label(), class]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_there_from_the_start_and_counts() {
        let registry = Registry::new();
        let metrics = ApiMetrics::register(&registry, &Route::HEALTH).unwrap();
        assert_eq!(registry.gather()[0].get_metric().len(), Route::HEALTH.len() * STATUS_CLASSES.len());
        metrics.prepare(&Route::ALL);
        metrics.count(Route::Members, StatusCode::NOT_FOUND);
        let families = registry.gather();
        assert_eq!(families.len(), 1);
        assert_eq!(families[0].get_metric().len(), Route::ALL.len() * STATUS_CLASSES.len());
        assert_eq!(metrics.requests.with_label_values(&["members", "4xx"]).get(), 1);
        assert_eq!(metrics.requests.with_label_values(&["members", "2xx"]).get(), 0);
    }
}
