//! Copies of a few bytes made in the module itself.
//!
//! Envoy's V8 leaves the module for each `memory.copy`, however little there is to copy, and a request has about a hundred
//! of them, of ten bytes or so. Compilers for wasm make nothing else of a copy. So the module has a function that knows
//! better, and that is what is called in place of all others.

use crate::arrange::functions;
use std::convert::Infallible;
use wasm_encoder::reencode::{self, Reencode, utils};
use wasm_encoder::{CodeSection, ExportSection, Instruction, Module};
use wasmparser::{ExportSectionReader, ExternalKind, FunctionBody, Operator, Parser, Payload};

type Result<T> = std::result::Result<T, reencode::Error<Infallible>>;

/// The exported name of that function, `(to, from, size)` as `memory.copy`. It is taken out.
const COPY: &str = "copy_bytes";

/// The same module, which calls its own function for copies, if it exports one.
pub(crate) fn called(wasm: &[u8]) -> Result<Vec<u8>> {
    let (mut imported, mut copy) = (0_u32, None);
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ImportSection(section) => imported = functions(section)?,
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    let is_copy = export.name == COPY && export.kind == ExternalKind::Func;
                    if is_copy {
                        copy = Some(export.index);
                    }
                }
            }
            _ => {}
        }
    }
    let Some(copy) = copy else {
        return Ok(wasm.to_vec());
    };
    let mut writer = Writer {
        copy,
        function: imported,
    };
    let mut module = Module::new();
    writer.parse_core_module(&mut module, Parser::new(0), wasm)?;
    Ok(module.finish())
}

struct Writer {
    /// The number of the function that copies.
    copy: u32,
    /// The number of the function that is written.
    function: u32,
}

impl Reencode for Writer {
    type Error = Infallible;

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: ExportSectionReader<'_>,
    ) -> Result<()> {
        for export in section {
            let export = export?;
            if export.name != COPY {
                self.parse_export(exports, export);
            }
        }
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<()> {
        utils::parse_function_body(self, code, body)?;
        self.function = self.function.saturating_add(1);
        Ok(())
    }

    fn instruction<'a>(&mut self, operator: Operator<'a>) -> Result<Instruction<'a>> {
        match operator {
            Operator::MemoryCopy { .. } if self.function != self.copy => {
                Ok(Instruction::Call(self.copy))
            }
            operator => utils::instruction(self, operator),
        }
    }
}
