//! A module made to count the instructions that it executes, in a global of its own.
//!
//! An interpreter's fuel would not do: it is taken at the beginning of a loop for all that stands in it, whichever arm of
//! a `match` is run.

mod service;

use super::envoy::required;
use super::vm::{INSTRUCTIONS, Vm};
use std::ops::Range;
use wasmparser::{BinaryReader, FunctionBody, Import, Operator, Parser, Payload, TypeRef};

const IMPORT_SECTION: u8 = 2;
const GLOBAL_SECTION: u8 = 6;
const EXPORT_SECTION: u8 = 7;
const CODE_SECTION: u8 = 10;

/// A worker's VM with the module under test, which counts. `None`: there is no module, the test is skipped.
pub(crate) fn start(configuration: &str) -> Option<Vm> {
    let wasm = std::fs::read(required("COHORT_WASM")?).expect("the module can be read");
    Some(Vm::start(&counted(&wasm), configuration, service::answer))
}

/// The same module, which counts.
fn counted(wasm: &[u8]) -> Vec<u8> {
    let mut module = wasm[..8].to_vec();
    let (mut counter, mut bodies) = (0, Vec::new());
    let mut functions = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.expect("the module is valid");
        match payload {
            // The counter's number is that of the module's own globals: none is imported.
            Payload::ImportSection(imports) => {
                let range = imports.range();
                let global = |import: Result<Import<'_>, _>| {
                    matches!(import.map(|import| import.ty), Ok(TypeRef::Global(_)))
                };
                assert!(!imports.into_iter().any(global));
                section(&mut module, IMPORT_SECTION, &wasm[range]);
            }
            Payload::GlobalSection(globals) => {
                counter = globals.count();
                // A mutable `i64` that begins at 0.
                let new = [0x7e, 0x01, 0x42, 0x00, 0x0b];
                appended(
                    &mut module,
                    GLOBAL_SECTION,
                    wasm,
                    globals.range(),
                    counter,
                    &new,
                );
            }
            Payload::ExportSection(exports) => {
                let mut new = Vec::new();
                leb(&mut new, INSTRUCTIONS.len());
                new.extend_from_slice(INSTRUCTIONS.as_bytes());
                new.push(3);
                leb(&mut new, counter as usize);
                appended(
                    &mut module,
                    EXPORT_SECTION,
                    wasm,
                    exports.range(),
                    exports.count(),
                    &new,
                );
            }
            Payload::CodeSectionStart { count, .. } => {
                leb(&mut bodies, count as usize);
                functions = count;
            }
            Payload::CodeSectionEntry(body) => {
                let body = instrumented(wasm, &body, counter);
                leb(&mut bodies, body.len());
                bodies.extend(body);
                functions -= 1;
                if functions == 0 {
                    section(&mut module, CODE_SECTION, &bodies);
                }
            }
            Payload::CustomSection(_) | Payload::Version { .. } | Payload::End(_) => {}
            other => {
                let (id, range) = other.as_section().expect("everything else is a section");
                section(&mut module, id, &wasm[range]);
            }
        }
    }
    module
}

/// A section with one more entry.
fn appended(
    module: &mut Vec<u8>,
    id: u8,
    wasm: &[u8],
    range: Range<usize>,
    count: u32,
    new: &[u8],
) {
    let mut reader = BinaryReader::new(&wasm[range.clone()], 0);
    reader.read_var_u32().expect("the number of entries");
    let mut content = Vec::new();
    leb(&mut content, count as usize + 1);
    content.extend_from_slice(&wasm[range.start + reader.original_position()..range.end]);
    content.extend_from_slice(new);
    section(module, id, &content);
}

fn section(module: &mut Vec<u8>, id: u8, content: &[u8]) {
    module.push(id);
    leb(module, content.len());
    module.extend_from_slice(content);
}

/// A function's body, which first adds to the counter what it executes up to the next branch, target of one, or end.
fn instrumented(wasm: &[u8], body: &FunctionBody<'_>, counter: u32) -> Vec<u8> {
    let operators = body.get_operators_reader().expect("operators");
    let start = operators.original_position();
    let mut code = wasm[body.range().start..start].to_vec();
    let (mut begun, mut count) = (start, 0);
    let mut operators = operators.into_iter_with_offsets().peekable();
    while let Some(next) = operators.next() {
        let (operator, _) = next.expect("an operator");
        count += usize::from(does_something(&operator));
        let end = match operators.peek() {
            Some(Ok((_, offset))) => *offset,
            _ => body.range().end,
        };
        if ends_block(&operator) || end == body.range().end {
            if count > 0 {
                // global.get, i64.const, i64.add, global.set
                code.push(0x23);
                leb(&mut code, counter as usize);
                code.push(0x42);
                signed_leb(&mut code, count);
                code.extend([0x7c, 0x24]);
                leb(&mut code, counter as usize);
            }
            code.extend_from_slice(&wasm[begun..end]);
            (begun, count) = (end, 0);
        }
    }
    code
}

fn ends_block(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::Block { .. }
            | Operator::Br { .. }
            | Operator::BrIf { .. }
            | Operator::BrTable { .. }
            | Operator::Else
            | Operator::End
            | Operator::If { .. }
            | Operator::Loop { .. }
            | Operator::Return
            | Operator::Unreachable
    )
}

/// What a compiler makes no instruction of is not counted.
fn does_something(operator: &Operator<'_>) -> bool {
    !matches!(
        operator,
        Operator::Block { .. }
            | Operator::Drop
            | Operator::Else
            | Operator::End
            | Operator::F64Const { .. }
            | Operator::I32Const { .. }
            | Operator::I64Const { .. }
            | Operator::LocalGet { .. }
            | Operator::LocalSet { .. }
            | Operator::LocalTee { .. }
            | Operator::Loop { .. }
            | Operator::Nop
            | Operator::V128Const { .. }
    )
}

/// Seven bits a byte, the lowest first.
fn leb(bytes: &mut Vec<u8>, value: usize) {
    let mut rest = value;
    loop {
        let [byte, ..] = rest.to_le_bytes();
        rest >>= 7;
        bytes.push(byte & 0x7f | if rest == 0 { 0 } else { 0x80 });
        if rest == 0 {
            break;
        }
    }
}

/// The same of a number that has a sign, which is not negative: the highest bit must not look like one.
fn signed_leb(bytes: &mut Vec<u8>, value: usize) {
    leb(bytes, value);
    if bytes.last().is_some_and(|last| last & 0x40 != 0) {
        *bytes.last_mut().unwrap() |= 0x80;
        bytes.push(0);
    }
}
