//! Whether a body gives the model tools, for groups that may not have any.

use super::json::Visitor;
use crate::json::Text;

/// Keys, in lower case, under which an API takes what a model may call.
const TOOLS: [&str; 4] = ["functions", "mcp_servers", "tools", SWITCH];

/// Lets the model search the web with an empty object.
const SWITCH: &str = "web_search_options";

/// Where the scanner is, as to the model's tools.
#[derive(Debug, Default)]
pub(super) struct Tools {
    /// The last key is one that tools stand under.
    pub(super) key: bool,
    /// It is one under which an empty object is something too.
    pub(super) switch: bool,
    /// The list or object under such a key has just begun.
    pub(super) begun: bool,
    /// Inside an object under whose `tools` they stand.
    pub(super) config: bool,
}

impl Visitor {
    /// Tools stand where nothing is text, and where the table says that they may be models.
    pub(super) fn tools_key(&mut self, key: Text<'_>, depth: usize) {
        let model = self.path.on_path() & self.fields.model_bits() != 0;
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
        self.found.tools |= std::mem::take(&mut tools.begun);
        tools.switch = folded == SWITCH;
        tools.key = named && (outside || (depth == 2 && tools.config));
    }

    /// A value begins, or stands alone.
    pub(super) fn tools_value(&mut self, something: bool) {
        if let Some(tools) = &mut self.tools {
            self.found.tools |= tools.begun || (tools.key && (something || tools.switch));
            tools.begun = std::mem::take(&mut tools.key) && !something;
        }
    }
}
