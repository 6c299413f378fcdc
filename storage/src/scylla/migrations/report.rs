//! What a migration did, or would do.

use std::fmt;

/// What a migration did, or, without a change, would do. Prints itself as CQL with comments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationReport {
    /// The keyspace.
    pub keyspace: String,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Migrations that were applied before.
    pub up_to_date: usize,
    /// What was done, in order; with `dry_run`, what would be.
    pub steps: Vec<MigrationStep>,
    /// Versions that are applied and that this version does not know: those of a newer one. They are left alone.
    pub unknown: Vec<i32>,
}

/// A migration, or the making of the keyspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationStep {
    /// As the file is named.
    pub name: String,
    /// Its statements.
    pub statements: Vec<String>,
}

impl MigrationReport {
    pub(super) fn new(keyspace: &str, dry_run: bool) -> Self {
        Self { keyspace: keyspace.into(), dry_run, up_to_date: 0, steps: Vec::new(), unknown: Vec::new() }
    }

    pub(super) fn add(&mut self, name: &str, statements: Vec<String>) {
        self.steps.push(MigrationStep { name: name.into(), statements });
    }
}

impl fmt::Display for MigrationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for version in &self.unknown {
            writeln!(f, "-- version {version} is of a newer roost: left alone")?;
        }
        let done = if self.dry_run { "would be applied" } else { "applied" };
        for step in &self.steps {
            writeln!(f, "-- {} {done}", step.name)?;
            if self.dry_run {
                step.statements.iter().try_for_each(|statement| writeln!(f, "{statement};"))?;
            }
        }
        write!(f, "-- keyspace {}: {} {done}, {} were before", self.keyspace, self.steps.len(), self.up_to_date)
    }
}
