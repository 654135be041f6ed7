use super::*;

fn check(fill: impl Fn(&Metrics), lines: &[&str]) {
    let metrics = Metrics::new().unwrap();
    fill(&metrics);
    let text = metrics.text();
    for line in lines {
        assert!(text.lines().any(|l| l == *line), "{line} is not in\n{text}");
    }
}

#[test]
fn requests_by_route_verdict_and_reason() {
    check(
        |metrics| {
            let route = metrics.route("api");
            route.permitted();
            metrics.route("api").permitted();
            route.failed(Reason::UpstreamFailed);
            route.denied(Reason::NoPolicy);
            metrics.route("").denied(Reason::AmbiguousRequest);
        },
        &[
            r#"portcullis_requests_total{reason="",route="api",verdict="permit"} 2"#,
            r#"portcullis_requests_total{reason="upstream_failed",route="api",verdict="permit"} 1"#,
            r#"portcullis_requests_total{reason="no_policy",route="api",verdict="deny"} 1"#,
            r#"portcullis_requests_total{reason="ambiguous_request",route="",verdict="deny"} 1"#,
        ],
    );
}

#[test]
fn every_reason_has_a_series_of_its_own() {
    let metrics = Metrics::new().unwrap();
    let route = metrics.route("api");
    for reason in Reason::ALL {
        route.denied(reason);
        route.failed(reason);
    }
    let text = metrics.text();
    let series = text
        .lines()
        .filter(|line| line.starts_with("portcullis_requests_total{"));
    assert_eq!(series.clone().count(), 2 * Reason::ALL.len());
    assert!(series.clone().all(|line| line.ends_with(" 1")));
}

#[test]
fn times() {
    check(
        |metrics| {
            metrics.stage(Stage::Record, Duration::from_micros(1));
            metrics.stages(&Stages {
                decide: Duration::from_nanos(300),
                ..Stages::default()
            });
            metrics
                .upstream_seconds("backend")
                .observe(Duration::from_millis(1500));
        },
        &[
            r#"portcullis_stage_seconds_bucket{stage="decide",le="0.000000256"} 0"#,
            r#"portcullis_stage_seconds_bucket{stage="decide",le="0.000000512"} 1"#,
            r#"portcullis_stage_seconds_bucket{stage="decide",le="+Inf"} 1"#,
            r#"portcullis_stage_seconds_count{stage="record"} 1"#,
            r#"portcullis_stage_seconds_sum{stage="record"} 0.000001"#,
            r#"portcullis_stage_seconds_count{stage="inspect"} 0"#,
            r#"portcullis_upstream_seconds_sum{upstream="backend"} 1.5"#,
        ],
    );
}

#[test]
fn the_others() {
    check(
        |metrics| {
            metrics.connections_open("public").inc();
            metrics.connections_refused().inc();
            metrics.streams_open().set(3);
            metrics.token_cache().0.inc();
            metrics.key_refresh("corp", false);
            metrics.reload(true);
            metrics.refused_early(Early::Parser);
            metrics
                .upstream_address("backend", "http://10.0.0.1:80")
                .ejected
                .set(1);
        },
        &[
            r#"portcullis_connections_open{listener="public"} 1"#,
            "portcullis_connections_refused 1",
            "portcullis_streams_open 3",
            r#"portcullis_token_cache_total{result="hit"} 1"#,
            r#"portcullis_key_refresh_total{provider="corp",result="failed"} 1"#,
            r#"portcullis_reloads_total{result="ok"} 1"#,
            r#"portcullis_refused_early_total{reason="parser"} 1"#,
            r#"portcullis_refused_early_total{reason="no_policy"} 0"#,
            r#"portcullis_upstream_ejected{address="http://10.0.0.1:80",upstream="backend"} 1"#,
            r#"portcullis_upstream_connections{address="http://10.0.0.1:80",upstream="backend"} 0"#,
            r#"portcullis_audit_records_total{kind="decision"} 0"#,
            "portcullis_audit_failures_total 0",
            "portcullis_audit_queue 0",
        ],
    );
}

#[test]
fn one_policy_set_is_in_force() {
    let metrics = Metrics::new().unwrap();
    for digest in ["aa", "bb", "bb"] {
        metrics.policy_set_loaded(digest, 7, Timestamp::UNIX_EPOCH);
    }
    let text = metrics.text();
    assert!(text.contains("portcullis_policy_set_info{digest=\"bb\"} 1\n"));
    assert!(!text.contains("aa"));
    assert!(text.contains("portcullis_policies 7\n"));
}
