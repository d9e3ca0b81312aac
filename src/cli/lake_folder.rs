//! The lake that a command works on: `reprise lake ls ./lake`, or `--lake ./lake`, or
//! `REPRISE_LAKE`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches, value_parser};

use super::usage::WrongUsage;
use crate::lake::store::{self, Place};
use crate::lake::{DEAD_LETTERS, LOG, PLAYS};

/// The folder of a lake, as an argument or as an option. `Args` is not derived, because the
/// argument must override the environment variable, which a container image sets, instead of
/// conflicting with it.
#[derive(Clone, Debug)]
pub struct LakeFolder(PathBuf);

const HINT: &str = "\n\nFor more information, try '--help'.\n";
const ARGUMENT: &str = "lake_folder";
const OPTION: &str = "lake";

impl LakeFolder {
    /// The lake.
    ///
    /// # Errors
    /// If it cannot be the folder of a lake, or is the folder of a single table.
    pub fn open(&self) -> Result<Place> {
        let lake = open(&self.0)?;
        refuse_table(Path::new(&lake.to_string()))?;
        Ok(lake)
    }

    /// The lake, for a command that writes there. Logs a warning if the lake belongs to
    /// another user.
    ///
    /// # Errors
    /// Like those of [`LakeFolder::open`].
    pub fn to_write(&self) -> Result<Place> {
        let lake = self.open()?;
        if let Some(foreign) = lake.foreign_owner() {
            tracing::warn!("{foreign}");
        }
        Ok(lake)
    }

    /// Adds the owner of the lake to an error of missing permissions.
    ///
    /// # Errors
    /// The error of `outcome`.
    pub fn advise<T>(&self, outcome: Result<T>) -> Result<T> {
        outcome.map_err(|error| store::advised(error, &self.0))
    }
}

/// The lake as given by the user: see [`store::open`].
///
/// # Errors
/// If it cannot be a lake.
pub fn open(given: &Path) -> Result<Place> {
    store::open(given).wrong_usage()
}

/// Refuses the folder of a Delta table where that of a lake is expected: a lake holds its tables in
/// folders with their names.
fn refuse_table(folder: &Path) -> Result<()> {
    let is_table = |folder: &Path| folder.join(LOG).is_dir();
    if !is_table(folder) || is_table(&folder.join(PLAYS.folder)) {
        return Ok(());
    }
    let (shown, above) = (folder.display(), folder.parent().unwrap_or(folder));
    let is_named = [&PLAYS, &DEAD_LETTERS].iter().any(|kind| folder.ends_with(kind.folder));
    if is_named && is_table(&above.join(PLAYS.folder)) {
        bail!("{shown} is one table of a lake: name the lake, {}", above.display());
    }
    bail!(
        "{shown} is a Delta table, and a lake is the folder above its tables: move the plays to LAKE/{}, and name LAKE",
        PLAYS.folder
    )
}

impl Args for LakeFolder {
    fn augment_args(command: Command) -> Command {
        let path = || value_parser!(PathBuf);
        let argument = Arg::new(ARGUMENT).value_name("LAKE").value_parser(path()).help("The folder of the lake");
        let option = Arg::new(OPTION).long("lake").value_name("DIR").value_parser(path()).env("REPRISE_LAKE");
        command.arg(argument).arg(option.help("The folder of the lake, if it is not given as an argument"))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for LakeFolder {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let path = |name| matches.get_one::<PathBuf>(name).cloned();
        match (path(ARGUMENT), path(OPTION)) {
            (Some(_), Some(_)) if matches.value_source(OPTION) == Some(ValueSource::CommandLine) => Err(Error::raw(
                ErrorKind::ArgumentConflict,
                format!("the lake is given twice: leave out --lake, or the argument{HINT}"),
            )),
            (Some(path), _) | (None, Some(path)) => Ok(Self(path)),
            (None, None) => Err(Error::raw(
                ErrorKind::MissingRequiredArgument,
                format!("which lake? Give its folder as an argument, with --lake, or in REPRISE_LAKE{HINT}"),
            )),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_no_lake() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str| std::fs::create_dir_all(folder.path().join(name).join("_delta_log")).unwrap();
        let refused =
            |name: &str| LakeFolder(folder.path().join(name)).open().map(drop).map_err(|error| error.to_string());
        make("music");
        assert!(refused("music").unwrap_err().ends_with("move the plays to LAKE/song_plays, and name LAKE"));
        make("lake/song_plays");
        make("lake/dead_letters");
        for table in ["lake/song_plays", "lake/dead_letters"] {
            let message = refused(table).unwrap_err();
            assert!(
                message.ends_with(&format!("name the lake, {}", folder.path().join("lake").display())),
                "{message}"
            );
        }
        refused("lake").unwrap();
        refused("none").unwrap();
    }
}
