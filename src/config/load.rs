//! Putting the sources together, and finding every fault at once: each value is tried alone on top of the defaults, so
//! that one that does not fit hides no other.

use std::collections::BTreeMap;
use std::path::Path;

use roost_storage::Fault;
use serde_json::Value;

use super::sources::{self, Flag, Given, Origin, Setting, Surroundings};
use super::{Config, Role};

/// The effective configuration of a role: its defaults, then the file, the environment and the flags.
///
/// # Errors
/// Every fault of every source, and those that `faults` finds in the result: [`Config::faults`], or
/// [`Config::all_faults`].
pub(crate) fn load(
    role: Role,
    file: Option<&Path>,
    flags: &[Flag],
    around: &Surroundings,
    faults: fn(&Config, Role) -> Vec<Fault>,
) -> Result<Config, Vec<Fault>> {
    let mut loading = Loading::new(&Config::of(role));
    match sources::from_file(file, around) {
        Ok(settings) => loading.apply_all(settings),
        Err(fault) => loading.faults.push(fault),
    }
    match sources::from_environment(around) {
        Ok(settings) => loading.apply_all(settings),
        Err(faults) => loading.faults.extend(faults),
    }
    loading.apply_all(sources::from_flags(flags));
    loading.finish(|config| faults(config, role))
}

struct Loading {
    /// The defaults: which keys there are, and of which type.
    defaults: Value,
    /// The defaults with every value that fits put in.
    merged: Value,
    /// Who has set a key last.
    origins: BTreeMap<String, Origin>,
    faults: Vec<Fault>,
}

impl Loading {
    fn new(defaults: &Config) -> Self {
        let defaults = serde_json::to_value(defaults).expect("a configuration is plain data");
        Self { merged: defaults.clone(), defaults, origins: BTreeMap::new(), faults: Vec::new() }
    }

    fn apply_all(&mut self, settings: Vec<Setting>) {
        settings.into_iter().for_each(|setting| self.apply(setting));
    }

    fn apply(&mut self, setting: Setting) {
        let Setting { key, value, origin } = setting;
        let Some(default) = at(&self.defaults, &key) else {
            return self.fault(&key, &origin, unknown(&key, &origin));
        };
        match (default, value) {
            (Value::Object(_), Given::Typed(Value::Object(table))) => {
                for (name, value) in table {
                    let key = key.iter().cloned().chain([name]).collect();
                    self.apply(Setting { key, value: Given::Typed(value), origin: origin.clone() });
                }
            }
            (Value::Object(_), _) => self.fault(&key, &origin, "is a section and takes no value".into()),
            (_, Given::Typed(value)) => self.put(&key, value, origin),
            (default, Given::Text(text)) => match typed(default, &text) {
                Ok(value) => self.put(&key, value, origin),
                // Few keys take a text besides what their default is.
                Err(_) if self.fits(&key, Value::String(text.clone())).is_ok() => {
                    self.put(&key, Value::String(text), origin);
                }
                Err(problem) => self.fault(&key, &origin, problem.into()),
            },
        }
    }

    /// Puts a value in when the configuration can be read with it.
    fn put(&mut self, key: &[String], value: Value, origin: Origin) {
        // Of a list each element is tried, so that the second wrong one is told too.
        let tries = match &value {
            Value::Array(elements) if at(&self.defaults, key).is_some_and(Value::is_array) => {
                let tries = elements.iter().enumerate();
                tries.map(|(index, element)| (format!("[{index}]"), Value::Array(vec![element.clone()]))).collect()
            }
            _ => vec![(String::new(), value.clone())],
        };
        let mut fits = true;
        for (index, value) in tries {
            if let Err(problem) = self.fits(key, value) {
                let mut key = key.to_vec();
                key.last_mut().expect("a value has a key").push_str(&index);
                self.fault(&key, &origin, problem);
                fits = false;
            }
        }
        if fits {
            *at_mut(&mut self.merged, key) = value;
            self.origins.insert(key.join("."), origin);
        }
    }

    /// Whether the configuration can be read with a value, and why not.
    fn fits(&self, key: &[String], value: Value) -> Result<(), String> {
        let mut candidate = self.defaults.clone();
        *at_mut(&mut candidate, key) = value;
        serde_json::from_value::<Config>(candidate).map(drop).map_err(|error| error.to_string())
    }

    fn fault(&mut self, key: &[String], origin: &Origin, problem: String) {
        self.faults.push(Fault { key: key.join("."), problem: format!("{problem} ({origin})") });
    }

    fn finish(mut self, faults: impl Fn(&Config) -> Vec<Fault>) -> Result<Config, Vec<Fault>> {
        let config: Config = serde_json::from_value(self.merged).expect("every value has been tried");
        let unusable: Vec<String> = self.faults.iter().map(|fault| fault.key.clone()).collect();
        for mut fault in faults(&config) {
            // In place of a value that could not be read stands its default: nothing is to be said about that.
            if unusable.iter().any(|key| fault.key == *key || fault.problem.contains(key.as_str())) {
                continue;
            }
            if let Some(origin) = self.origins.get(&fault.key) {
                fault.problem = format!("{} ({origin})", fault.problem);
            }
            self.faults.push(fault);
        }
        if self.faults.is_empty() { Ok(config) } else { Err(self.faults) }
    }
}

fn unknown(key: &[String], origin: &Origin) -> String {
    let hint = match origin {
        Origin::Variable(_) if key.len() == 1 => "; a section and its key are joined by two underscores",
        _ => "",
    };
    format!("is not a key of the configuration{hint}")
}

fn at<'a>(value: &'a Value, key: &[String]) -> Option<&'a Value> {
    key.iter().try_fold(value, |value, name| value.as_object()?.get(name))
}

fn at_mut<'a>(value: &'a mut Value, key: &[String]) -> &'a mut Value {
    key.iter().fold(value, |value, name| &mut value[name])
}

/// Reads a text as the type that the key's default has. Keys without a default are all texts.
fn typed(default: &Value, text: &str) -> Result<Value, &'static str> {
    let read = || serde_json::from_str::<Value>(text.trim()).ok();
    match default {
        Value::Bool(_) => read().filter(Value::is_boolean).ok_or("must be true or false"),
        Value::Number(_) => read().filter(Value::is_number).ok_or("must be a number"),
        Value::Array(_) => read().filter(Value::is_array).ok_or("must be a list in JSON, such as [\"a\", \"b\"]"),
        Value::Null | Value::String(_) | Value::Object(_) => Ok(Value::String(text.to_owned())),
    }
}
