//! The shipped scenarios: every case of every folder of `policies/` ends as it says.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};

use portcullis::policy::PolicySet;
use portcullis::policy::cases::Cases;
use portcullis::sources;

fn scenarios() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    found
}

fn load(scenario: &Path) -> PolicySet {
    match sources::load(&[scenario.join("policy.yaml")]) {
        Ok(set) => set,
        Err(problems) => panic!("{problems:#?}"),
    }
}

fn cases(scenario: &Path) -> Cases {
    let path = scenario.join("cases.yaml");
    match Cases::read(
        path.display().to_string(),
        &fs::read_to_string(&path).unwrap(),
    ) {
        Ok(cases) => cases,
        Err(problems) => panic!("{problems:#?}"),
    }
}

#[test]
fn every_case_ends_as_it_says() {
    let mut wrong = Vec::new();
    for scenario in scenarios() {
        let set = load(&scenario);
        let cases = cases(&scenario);
        for case in &cases.cases {
            let outcome = cases.run(case, &set);
            if !case.expect.met_by(&outcome) {
                wrong.push(format!(
                    "{}: {}: expected {:?}, got {outcome:?}",
                    scenario.display(),
                    case.name,
                    case.expect
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_scenario_tries_to_get_round_its_policy() {
    for scenario in scenarios() {
        let set = load(&scenario);
        let cases = cases(&scenario);
        let permitted = cases
            .cases
            .iter()
            .filter(|case| {
                matches!(
                    cases.run(case, &set),
                    portcullis::policy::cases::Outcome::Permit(_)
                )
            })
            .count();
        let refused = cases.cases.len() - permitted;
        assert!(
            permitted >= 1 && refused >= 5,
            "{}: {permitted} permitted, {refused} refused",
            scenario.display()
        );
    }
}

#[test]
fn all_scenarios_load_side_by_side() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let set = sources::load(&[folder]).unwrap();
    assert!(set.len() > 20);
}
