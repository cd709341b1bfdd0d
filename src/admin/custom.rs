//! Metrics that `metric` steps make, as Prometheus reads them: names, labels and buckets are the config's.

use crate::steps::ordered::metric::config::MetricKind;
use crate::steps::ordered::metric::{MetricView, Series};
use serde::{Serialize, Serializer};
use std::fmt::Write;

/// Most series that `/stats` shows of one metric; all are on `/metrics`.
pub const SERIES_SHOWN: usize = 20;

/// One metric of a pipeline.
#[derive(Debug, Clone, Serialize)]
pub struct MetricStats {
    /// The pipeline.
    pub pipeline: String,
    /// The step's place in it, from 1.
    pub step: usize,
    /// What it is called.
    pub name: String,
    /// What it is: `counter`, `gauge`, `histogram`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// How many label sets it has.
    pub series_total: usize,
    /// Entries that counted in the overflow series, as there were `max_series` others.
    pub overflowed: u64,
    /// Its numbers, at most [`SERIES_SHOWN`].
    #[serde(rename = "series", serialize_with = "shown")]
    pub view: MetricView,
}

impl MetricStats {
    /// What the step at `step` of `pipeline` counted.
    pub fn of(pipeline: &str, step: usize, view: MetricView) -> Self {
        MetricStats {
            pipeline: pipeline.into(),
            step,
            name: view.config.name.clone(),
            kind: view.config.kind.name(),
            series_total: view.series.len(),
            overflowed: view.overflowed,
            view,
        }
    }
}

fn shown<S: Serializer>(view: &MetricView, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Shown<'a> {
        labels: serde_json::Map<String, serde_json::Value>,
        count: u64,
        value: f64,
        #[serde(skip_serializing_if = "<[u64]>::is_empty")]
        buckets: &'a [u64],
    }
    let names = || view.config.labels.0.iter().map(|(name, _)| name.clone());
    serializer.collect_seq(view.series.iter().take(SERIES_SHOWN).map(|series| Shown {
        labels: names().zip(series.labels.iter().map(|value| (**value).into())).collect(),
        count: series.count,
        value: series.value,
        buckets: &series.buckets,
    }))
}

/// Writes the metric to `page`, in the text format 0.0.4.
pub fn write(page: &mut String, view: &MetricView) {
    let config = &view.config;
    let name = &config.name;
    if let Some(help) = &config.help {
        let _ = writeln!(page, "# HELP {name} {}", help.replace('\\', "\\\\").replace('\n', "\\n"));
    }
    let _ = writeln!(page, "# TYPE {name} {}", config.kind);
    for series in &view.series {
        match config.kind {
            MetricKind::Counter | MetricKind::Gauge => line(page, view, series, "", None, series.value),
            MetricKind::Histogram => {
                let mut below = 0;
                let bounds = config.buckets.as_deref().unwrap_or_default().iter().map(f64::to_string);
                for (count, bound) in series.buckets.iter().zip(bounds.chain(Some("+Inf".into()))) {
                    below += count;
                    line(page, view, series, "_bucket", Some(&bound), below as f64);
                }
                line(page, view, series, "_sum", None, series.value);
                line(page, view, series, "_count", None, series.count as f64);
            }
        }
    }
    page.push('\n');
}

/// One number.
fn line(page: &mut String, view: &MetricView, series: &Series, end: &str, le: Option<&str>, value: f64) {
    let _ = write!(page, "{}{end}", view.config.name);
    let names = view.config.labels.0.iter().map(|(name, _)| name.as_str());
    let labels = names.zip(series.labels.iter().map(|value| &**value)).chain(le.map(|le| ("le", le)));
    for (at, (name, value)) in labels.enumerate() {
        page.push(if at == 0 { '{' } else { ',' });
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(page, "{name}=\"{value}\"");
    }
    if le.is_some() || !view.config.labels.0.is_empty() {
        page.push('}');
    }
    let _ = writeln!(page, " {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_written_with_cumulative_buckets_and_escaped_labels() {
        let yaml =
            "{ name: t, type: histogram, help: 'a\\b', value: n, buckets: [0.5, 10], labels: { a: x } }";
        let config = serde_yaml::from_str(yaml).unwrap();
        let series = Series { labels: vec!["q\"\\\n".into()], count: 6, value: 7.5, buckets: vec![1, 2, 3] };
        let view = MetricView { config, series: vec![series], overflowed: 0 };
        let mut page = String::new();
        write(&mut page, &view);
        let expected = "# HELP t a\\\\b\n# TYPE t histogram\n\
            t_bucket{a=\"q\\\"\\\\\\n\",le=\"0.5\"} 1\nt_bucket{a=\"q\\\"\\\\\\n\",le=\"10\"} 3\n\
            t_bucket{a=\"q\\\"\\\\\\n\",le=\"+Inf\"} 6\nt_sum{a=\"q\\\"\\\\\\n\"} 7.5\nt_count{a=\"q\\\"\\\\\\n\"} 6\n\n";
        assert_eq!(page, expected);
    }
}
