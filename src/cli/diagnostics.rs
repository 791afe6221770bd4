//! Errors and warnings as rustc shows them.

use crate::config::{ConfigError, Location, Warning};
use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use std::fmt::Write;

/// The text that `cohort lint` has for these errors, without colours.
pub fn render_errors(file: &str, errors: &[ConfigError]) -> String {
    render(&Renderer::plain(), file, errors)
}

/// As [`render_errors`], with colours.
pub(super) fn render_errors_styled(file: &str, errors: &[ConfigError]) -> String {
    render(
        &Renderer::styled().decor_style(DecorStyle::Ascii),
        file,
        errors,
    )
}

fn render(renderer: &Renderer, file: &str, errors: &[ConfigError]) -> String {
    let mut text = String::new();
    for error in errors {
        let title = match error.path.as_str() {
            "" => error.message.clone(),
            path => format!("{path}: {}", error.message),
        };
        let mut group = Level::ERROR
            .primary_title(&title)
            .elements(error.location.as_ref().map(|location| {
                let snippet = Snippet::source(&location.excerpt)
                    .line_start(location.line as usize)
                    .path(file);
                snippet.annotation(AnnotationKind::Primary.span(location.range.clone()))
            }));
        if let Some(help) = &error.help {
            group = group.element(Level::HELP.message(help));
        }
        let _ = writeln!(text, "{}\n", renderer.render(&[group])); // a String takes everything
    }
    let _ = match errors.len() {
        1 => writeln!(text, "{file}: 1 error"),
        count => writeln!(text, "{file}: {count} errors"),
    };
    text
}

/// One thing that was found, and where.
pub(super) struct Shown<'a> {
    pub(super) error: bool,
    pub(super) title: &'a str,
    pub(super) file: &'a str,
    pub(super) place: Option<&'a Location>,
    /// Whether to show the line.
    pub(super) excerpt: bool,
    pub(super) help: Option<&'a str>,
}

impl Shown<'_> {
    /// An error with its line, as [`render_errors`] has it; a warning with less.
    pub(super) fn render(&self) -> String {
        let level = if self.error {
            Level::ERROR
        } else {
            Level::WARNING
        };
        let title = level.primary_title(self.title);
        let mut group = match self.place {
            Some(place) if self.excerpt => title.element(
                Snippet::source(&place.excerpt)
                    .line_start(place.line as usize)
                    .path(self.file)
                    .annotation(AnnotationKind::Primary.span(place.range.clone())),
            ),
            Some(place) => title.element(
                Origin::path(self.file)
                    .line(place.line as usize)
                    .char_column(place.column as usize),
            ),
            None => title.elements(None::<Snippet<'_, annotate_snippets::Annotation<'_>>>),
        };
        if let Some(help) = self.help {
            group = group.element(Level::HELP.message(help));
        }
        let renderer = Renderer::styled().decor_style(DecorStyle::Ascii);
        let gap = if self.error { "\n" } else { "" };
        format!("{}\n{gap}", renderer.render(&[group]))
    }
}

/// The text that `cohort run` has for these warnings.
pub(super) fn render_warnings(warnings: &[Warning]) -> String {
    let renderer = Renderer::styled();
    let mut text = String::new();
    for warning in warnings {
        let title = warning.to_string();
        let group = Level::WARNING
            .primary_title(&title)
            .elements(None::<Snippet<'_, annotate_snippets::Annotation<'_>>>);
        let _ = writeln!(text, "{}", renderer.render(&[group])); // a String takes everything
    }
    text
}
