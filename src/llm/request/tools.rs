//! Whether a body gives the model tools, for groups that may not have any.

use super::json::Visitor;
use crate::json::Text;

/// Keys, in lower case, under which an API takes what a model may call.
const TOOLS: [&str; 4] = ["functions", "mcp_servers", "tools", SWITCH];

/// Lets the model search the web with an empty object.
const SWITCH: &str = "web_search_options";

/// What a key says of the value under it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Key {
    /// Nothing.
    #[default]
    Other,
    /// That an empty object is something too.
    Switch,
    /// That tools stand there, if anything does.
    Tools,
}

/// Where the scanner is, as to the model's tools.
#[derive(Debug, Default)]
pub(super) struct Tools {
    /// What the last key says.
    pub(super) key: Key,
    /// The list or object under such a key has just begun.
    pub(super) begun: bool,
    /// Inside an object under whose `tools` they stand.
    pub(super) config: bool,
}

impl Visitor {
    /// Tools stand where nothing is text, and where the table says that they may be models.
    pub(super) fn tools_key(&mut self, key: Text<'_>, depth: usize) {
        let model = self.path.on_path() & self.fields.model_bits != 0;
        let outside = depth == 1 || self.text.is_none() || model;
        let Some(tools) = &mut self.tools else {
            return;
        };
        let folded = key.folded().unwrap_or_default();
        let named = TOOLS.contains(&folded.as_str());
        if depth == 1 {
            tools.config = matches!(folded.as_str(), "toolconfig" | "tool_config");
        }
        // An object that has members is not empty.
        self.found.facts.tools |= std::mem::take(&mut tools.begun);
        tools.key = if !named || !(outside || (depth == 2 && tools.config)) {
            Key::Other
        } else if folded == SWITCH {
            Key::Switch
        } else {
            Key::Tools
        };
    }

    /// A list or an object begins.
    pub(super) fn tools_open(&mut self) {
        if let Some(tools) = &mut self.tools {
            let key = std::mem::take(&mut tools.key);
            self.found.facts.tools |= tools.begun || key == Key::Switch;
            tools.begun = key == Key::Tools;
        }
    }

    /// A value that is neither.
    pub(super) fn tools_scalar(&mut self, null: bool) {
        if let Some(tools) = &mut self.tools {
            let key = std::mem::take(&mut tools.key);
            self.found.facts.tools |= tools.begun || (key != Key::Other && !null);
            tools.begun = false;
        }
    }
}
