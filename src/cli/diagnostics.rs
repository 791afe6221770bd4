//! Errors and warnings as rustc shows them.

use crate::config::{ConfigError, Warning};
use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
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

/// The text that `cohort lint` has for these warnings.
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
