//! The same module in another order, with hints.

use crate::count::{Branch, Executed, Kind, Traffic};
use std::convert::Infallible;
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{BranchHint, BranchHints, CodeSection, FunctionSection, Module, SectionId};
use wasmparser::{
    CodeSectionReader, FunctionBody, FunctionSectionReader, ImportSectionReader, Parser, Payload,
    TypeRef,
};

type Result<T> = std::result::Result<T, reencode::Error<Infallible>>;

/// Of a hundred times, how often a branch goes one way if it is said to go that way.
const NEARLY_ALWAYS: u64 = 95;

/// Writes a module again: its functions in the order in which they were first called, and those that were not as they
/// stood; and for branches that nearly always went one way, that they do.
/// <https://github.com/WebAssembly/branch-hinting>
pub(crate) fn arrange(wasm: &[u8], traffic: &Traffic) -> Result<Vec<u8>> {
    let (mut imports, mut bodies) = (0_u32, Vec::new());
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ImportSection(section) => imports = functions(section)?,
            Payload::CodeSectionEntry(body) => bodies.push(body),
            _ => {}
        }
    }
    let none = Executed::default();
    let executed = |function: usize| traffic.get(function).unwrap_or(&none);
    let mut order: Vec<usize> = (0..bodies.len()).collect();
    // 0 is the last of them.
    order.sort_by_key(|function| executed(*function).turn.wrapping_sub(1));
    let mut numbers = vec![0; order.len()];
    for (number, function) in (imports..).zip(&order) {
        if let Some(new) = numbers.get_mut(*function) {
            *new = number;
        }
    }
    let mut writer = Writer {
        imports,
        numbers,
        order,
        code: CodeSection::new(),
        hints: BranchHints::new(),
    };
    for (number, function) in (imports..).zip(writer.order.clone()) {
        if let Some(body) = bodies.get(function) {
            writer.write(number, body, executed(function))?;
        }
    }
    let mut module = Module::new();
    writer.parse_core_module(&mut module, Parser::new(0), wasm)?;
    Ok(module.finish())
}

/// How many functions are imported: they have the first numbers.
pub(crate) fn functions(imports: ImportSectionReader<'_>) -> Result<u32> {
    let mut count = 0_u32;
    for import in imports {
        let function = matches!(import?.ty, TypeRef::Func(_));
        count = count.saturating_add(u32::from(function));
    }
    Ok(count)
}

struct Writer {
    /// Imported functions have the first numbers, and keep them.
    imports: u32,
    /// The new number of each function that the module defines.
    numbers: Vec<u32>,
    /// Of those, where each one stood.
    order: Vec<usize>,
    /// All of them, as they are now.
    code: CodeSection,
    hints: BranchHints,
}

impl Writer {
    fn write(&mut self, number: u32, body: &FunctionBody<'_>, executed: &Executed) -> Result<()> {
        let mut function = self.new_function_with_parsed_locals(body)?;
        let (mut branches, mut hints) = (executed.branches.iter(), Vec::new());
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            if Kind::of(&operator).is_some()
                && let Some(taken) = branches.next().and_then(hint)
            {
                hints.push(BranchHint {
                    branch_func_offset: u32::try_from(function.byte_len()).unwrap_or(u32::MAX),
                    branch_hint_value: u32::from(taken),
                });
            }
            function.instruction(&self.instruction(operator)?);
        }
        self.code.function(&function);
        if !hints.is_empty() {
            self.hints.function_hints(number, hints);
        }
        Ok(())
    }
}

/// Which way a branch goes, if it nearly always goes that way.
fn hint(branch: &Branch) -> Option<bool> {
    let Branch { reached, taken } = *branch;
    let most = |times: u64| times.saturating_mul(100) >= reached.saturating_mul(NEARLY_ALWAYS);
    match reached {
        0 => None,
        _ if most(taken) => Some(true),
        _ if most(reached.saturating_sub(taken)) => Some(false),
        _ => None,
    }
}

impl Reencode for Writer {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> u32 {
        let own = function.checked_sub(self.imports);
        let new = own.and_then(|own| self.numbers.get(own as usize));
        new.copied().unwrap_or(function)
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<()> {
        let types = section
            .into_iter()
            .collect::<std::result::Result<Vec<u32>, _>>()?;
        for function in &self.order {
            functions.function(types.get(*function).copied().unwrap_or_default());
        }
        Ok(())
    }

    /// Hints stand before the code that they are of.
    fn intersperse_section_hook(
        &mut self,
        module: &mut Module,
        _: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Result<()> {
        if before == Some(SectionId::Code) {
            module.section(&self.hints);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        _: CodeSectionReader<'_>,
    ) -> Result<()> {
        *code = std::mem::take(&mut self.code);
        Ok(())
    }
}
