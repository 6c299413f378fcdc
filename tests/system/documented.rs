//! The documentation against what it describes: metrics that a node serves, files and functions that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::place::Place;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The README and every page of `docs/`.
fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.chain([root().join("README.md")]).collect()
}

/// A page without its fenced blocks.
fn prose(page: &Path) -> String {
    let text = fs::read_to_string(page).unwrap();
    let mut is_fenced = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.starts_with("```");
        is_fenced ^= is_fence;
        !is_fenced && !is_fence
    });
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[tokio::test]
async fn every_metric_is_documented_with_its_type_and_no_other() {
    let place = Place::new();
    let node = place.start().await;
    let served = node.metrics().await.body;
    let served: BTreeSet<_> = served
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE roost_")?.split_once(' '))
        .map(|(name, kind)| (format!("`roost_{name}`"), kind.to_owned()))
        .collect();
    let page = prose(&root().join("docs/metrics.md"));
    let documented: BTreeSet<_> = page
        .lines()
        .filter(|line| line.starts_with("| `roost_"))
        // Those of a cluster's backends: a unit test beside them compares them.
        .filter(|line| !line.starts_with("| `roost_redis_") && !line.starts_with("| `roost_scylla_"))
        .map(|line| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>())
        .map(|cells| (cells[1].clone(), cells[2].clone()))
        .collect();
    assert!(!served.is_empty());
    let missing: Vec<_> = served.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&served).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "not documented: {missing:?}; not served: {unknown:?}");
}

/// Source files are named from the root; "`name` in `path`" says that the function is there.
#[test]
fn every_source_file_and_function_that_the_docs_name_exists() {
    let (mut files, mut functions) = (0, 0);
    for page in pages() {
        let prose = prose(&page);
        let parts: Vec<_> = prose.split('`').collect();
        for at in (1..parts.len()).step_by(2).filter(|at| parts[*at].ends_with(".rs")) {
            let file = parts[at];
            let source = fs::read_to_string(root().join(file));
            let source = source.unwrap_or_else(|error| panic!("{} names {file}: {error}", page.display()));
            files += 1;
            if at > 1 && parts[at - 1].trim() == "in" {
                let function = parts[at - 2];
                let is_there =
                    [format!("fn {function}("), format!("fn {function}<")].iter().any(|it| source.contains(it));
                assert!(is_there, "{} names {function} in {file}", page.display());
                functions += 1;
            }
        }
    }
    assert!(files > 20 && functions > 20, "{files} files, {functions} functions: the docs are read wrongly");
}

#[test]
fn every_link_between_the_docs_leads_somewhere() {
    let mut links = 0;
    for page in pages() {
        for target in
            prose(&page).split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(to, _)| to.to_owned())
        {
            let file = target.split('#').next().unwrap();
            if target.contains("://") || file.is_empty() {
                continue;
            }
            assert!(page.parent().unwrap().join(file).exists(), "{} links to {target}", page.display());
            links += 1;
        }
    }
    assert!(links > 5, "{links} links: the docs are read wrongly");
}
