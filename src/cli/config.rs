//! `--config FILE`: options from a file.
//!
//! The values become the defaults of the options, so clap itself gives flags precedence over the
//! environment, and the environment over the file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow, bail};
use clap::{Arg, ArgAction, Command};

const FILE_BYTES_MAX: u64 = 64 << 10;

/// The path given with `--config` in `arguments`, if any.
pub fn path(arguments: &[OsString]) -> Option<PathBuf> {
    let mut arguments = arguments.iter().filter_map(|argument| argument.to_str());
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix("--config") {
            Some("") => return arguments.next().map(PathBuf::from),
            Some(rest) if rest.starts_with('=') => return Some(PathBuf::from(&rest[1..])),
            _ => {}
        }
    }
    None
}

/// `command` with the file's values as the defaults of its subcommands' options.
///
/// # Errors
/// If the file cannot be read, is not TOML, or names an option that no subcommand has.
pub fn apply(command: Command, path: &Path) -> Result<Command> {
    let read = || -> Result<toml::Table> {
        if std::fs::metadata(path)?.len() > FILE_BYTES_MAX {
            bail!("it is larger than {FILE_BYTES_MAX} bytes");
        }
        Ok(std::fs::read_to_string(path)?.parse()?)
    };
    let context = || format!("cannot use the configuration file {}", path.display());
    let table = read().with_context(context)?;
    table.into_iter().try_fold(command, |command, (name, value)| default(command, &name, value)).with_context(context)
}

/// The error for wrong values in the file at `path`, with clap's message.
pub fn refusal(path: &Path, error: &clap::Error) -> Error {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let why = text.split_once("\n\nFor more information").map_or(text, |(why, _)| why).trim();
    anyhow!("cannot use the configuration file {}: {why}", path.display())
}

/// Makes `value` the default of the option `name` in every subcommand that has it.
fn default(command: Command, name: &str, value: toml::Value) -> Result<Command> {
    let several = value.is_array();
    let values = match value {
        toml::Value::Array(values) => values,
        value => vec![value],
    };
    let text = |value| match value {
        toml::Value::String(text) => Ok(text),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Float(number) => Ok(number.to_string()),
        toml::Value::Boolean(set) => Ok(set.to_string()),
        _ => bail!(
            "`{name}` must be a text, a number, or true or false, or a list of them if it may be given several times"
        ),
    };
    // clap's defaults are `'static`, so the texts are leaked.
    let values = values.into_iter().map(|value| Ok(&*text(value)?.leak())).collect::<Result<Vec<&'static str>>>()?;
    let mut found = FileOption::default();
    let command = set_defaults(command, name, &values, &mut found);
    if !found.known {
        bail!(
            "no command has an option `{name}`; write options as they are called on the command line, without the dashes"
        );
    }
    if several && found.single {
        bail!("`{name}` takes one value, not a list");
    }
    Ok(command)
}

/// What is known of an option in the file.
#[derive(Default)]
struct FileOption {
    /// A subcommand has it.
    known: bool,
    /// A subcommand accepts it only once.
    single: bool,
}

/// Sets the default in all subcommands of `command`, recursively. An option without a long name is
/// known by its letter.
fn set_defaults(mut command: Command, name: &str, values: &[&'static str], found: &mut FileOption) -> Command {
    let subcommands: Vec<String> =
        command.get_subcommands().map(|subcommand| subcommand.get_name().to_owned()).collect();
    for subcommand in subcommands {
        command = command.mut_subcommand(subcommand, |subcommand| {
            let subcommand = set_defaults(subcommand, name, values, found);
            let is_it = |option: &&Arg| match option.get_long() {
                Some(long) => long == name,
                None => option.get_short().is_some_and(|short| name.strip_prefix(short) == Some("")),
            };
            let Some(option) = subcommand.get_arguments().find(is_it) else { return subcommand };
            let (id, several) = (option.get_id().clone(), matches!(option.get_action(), ArgAction::Append));
            *found = FileOption { known: true, single: found.single || !several };
            let values = values.to_vec();
            subcommand.mut_arg(id, |option| option.required(false).default_values(values))
        });
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        let topic = clap::Arg::new("topic").long("topic").required(true);
        Command::new("reprise").subcommand(Command::new("run").arg(topic.env("REPRISE_TEST_TOPIC_THAT_NOBODY_SETS")))
    }

    fn parse(toml: &str, arguments: &[&str]) -> Result<String> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("reprise.toml");
        std::fs::write(&path, toml)?;
        let matches = apply(command(), &path)?.try_get_matches_from(arguments)?;
        let (_, run) = matches.subcommand().context("no subcommand")?;
        run.get_one::<String>("topic").cloned().context("no topic")
    }

    #[test]
    fn a_flag_beats_the_file() {
        assert_eq!(parse("topic = \"plays\"", &["reprise", "run"]).unwrap(), "plays");
        assert_eq!(parse("topic = \"plays\"", &["reprise", "run", "--topic", "other"]).unwrap(), "other");
    }

    #[test]
    fn commands_of_commands_have_their_defaults_too() {
        let lake = clap::Arg::new("lake").long("lake").required(true);
        let below = Command::new("lake").subcommand(Command::new("ls").arg(lake));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reprise.toml");
        std::fs::write(&path, "lake = \"/music\"").unwrap();
        let command = apply(Command::new("reprise").subcommand(below), &path).unwrap();
        let matches = command.get_matches_from(["reprise", "lake", "ls"]);
        let ls = matches.subcommand_matches("lake").unwrap().subcommand_matches("ls").unwrap();
        assert_eq!(ls.get_one::<String>("lake").unwrap(), "/music");
    }

    #[test]
    fn unknown_options_are_refused() {
        let error = format!("{:#}", parse("tpoic = \"plays\"", &["reprise", "run"]).unwrap_err());
        assert!(error.contains("no command has an option `tpoic`"), "{error}");
        let error = format!("{:#}", parse("topic = [1]", &["reprise", "run"]).unwrap_err());
        assert!(error.contains("`topic` takes one value"), "{error}");
        assert!(parse("topic = [[1]]", &["reprise", "run"]).is_err());
    }

    /// librdkafka options are named by a letter (`-X`), and may be repeated.
    #[test]
    fn options_that_may_be_given_several_times_have_lists() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reprise.toml");
        let given = |toml: &str, arguments: &[&str]| {
            std::fs::write(&path, toml).unwrap();
            let option = Arg::new("options").short('X').action(ArgAction::Append);
            let command = apply(Command::new("reprise").subcommand(Command::new("run").arg(option)), &path).unwrap();
            let matches = command.get_matches_from(arguments);
            let (_, run) = matches.subcommand().unwrap();
            run.get_many::<String>("options").unwrap().cloned().collect::<Vec<_>>()
        };
        assert_eq!(given("X = ['a=1', 'b=2']", &["reprise", "run"]), ["a=1", "b=2"]);
        assert_eq!(given("X = 'a=1'", &["reprise", "run"]), ["a=1"]);
        assert_eq!(given("X = ['a=1', 'b=2']", &["reprise", "run", "-X", "c=3"]), ["c=3"]);
    }

    #[test]
    fn is_found_in_both_spellings() {
        let arguments = |texts: &[&str]| texts.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(path(&arguments(&["reprise", "--config", "a", "run"])), Some("a".into()));
        assert_eq!(path(&arguments(&["reprise", "run", "--config=b"])), Some("b".into()));
        assert_eq!(path(&arguments(&["reprise", "run"])), None);
    }
}
