//! `docs/deployment.md`: its commands run, and its YAML is what those take whom it is for.

use super::{TUTORIAL, crd, file, support};
use std::fs;
use std::path::Path;
use std::process::Command;
use support::envoy::{self, HCM};

fn blocks(language: &str) -> Vec<String> {
    let page = file("docs/deployment.md");
    let fence = format!("```{language}\n");
    let blocks = page.split(&fence).skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap().to_owned());
    blocks.collect()
}

#[test]
fn its_commands_render_something() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("deployment");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("policy-config.yaml"), file(TUTORIAL)).unwrap();
    let commands = blocks("sh");
    let commands = commands.iter().flat_map(|block| block.lines());
    let commands: Vec<_> = commands
        .filter_map(|line| line.strip_prefix("cohort "))
        .collect();
    assert_eq!(commands.len(), 5);
    for command in commands {
        let done = Command::new(env!("CARGO_BIN_EXE_cohort"))
            .current_dir(&folder)
            .args(command.split(' '))
            .output()
            .unwrap();
        assert!(
            done.status.success() && done.stdout.is_empty(),
            "{command}: {done:?}"
        );
        let (_, output) = command.split_once("--output ").unwrap();
        let written = folder.join(output);
        assert!(fs::metadata(&written).unwrap().len() > 1_000, "{command}");
        fs::remove_file(written).unwrap();
    }
}

#[tokio::test]
async fn its_yaml_is_taken_by_those_whom_it_is_for() {
    let kinds = crd::kinds();
    let (routes, manifests): (Vec<_>, Vec<_>) =
        (blocks("yaml").into_iter()).partition(|block| block.starts_with("- "));
    assert_eq!((routes.len(), manifests.len()), (1, 2));
    for manifest in manifests {
        let manifest = support::yaml(&manifest);
        assert_eq!(crd::problems(&manifest, &kinds), [""; 0]);
    }
    // In an example, with the site of another.
    let mut root = support::yaml(&file("envoy/openai.yaml"));
    let site =
        support::yaml(&file("envoy/file-reload.yaml"))["static_resources"]["clusters"][1].clone();
    let clusters = root["static_resources"]["clusters"].as_array_mut();
    clusters.unwrap().push(site);
    let all = root.pointer_mut(&format!("{HCM}/route_config/virtual_hosts/0/routes"));
    let all = all.unwrap().as_array_mut().unwrap();
    for route in support::yaml(&routes[0]).as_array().unwrap() {
        all.insert(0, route.clone());
    }
    if let Some(result) = envoy::validate(&root.to_string()).await {
        assert_eq!(result, Ok(()));
    }
}
