//! A module made to count its calls and branches, in globals of its own.

use std::convert::Infallible;
use wasm_encoder::reencode::{self, Reencode, utils};
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ExportKind, ExportSection, Function, GlobalSection,
    GlobalType, Instruction, Module, ValType,
};
use wasmparser::{
    ExportSectionReader, FunctionBody, GlobalSectionReader, Operator, Parser, Payload,
};

type Result<T> = std::result::Result<T, reencode::Error<Infallible>>;

/// Of each function that a module defines, what was executed.
pub(crate) type Traffic = Vec<Executed>;

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Executed {
    /// The how manieth it was to be called first; 0 if it never was.
    pub(crate) turn: u64,
    /// Its `if` and `br_if`, in their order.
    pub(crate) branches: Vec<Branch>,
}

/// How often a branch was come to, and taken.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Branch {
    pub(crate) reached: u64,
    pub(crate) taken: u64,
}

/// Adds what was executed later.
pub(crate) fn add(traffic: &mut Traffic, later: Traffic) {
    let turns = traffic.iter().map(|executed| executed.turn).max();
    let before = turns.unwrap_or_default();
    traffic.resize(later.len(), Executed::default());
    for (executed, later) in traffic.iter_mut().zip(later) {
        if executed.turn == 0 && later.turn > 0 {
            executed.turn = before.saturating_add(later.turn);
        }
        executed
            .branches
            .resize(later.branches.len(), Branch::default());
        for (branch, later) in executed.branches.iter_mut().zip(later.branches) {
            branch.reached = branch.reached.saturating_add(later.reached);
            branch.taken = branch.taken.saturating_add(later.taken);
        }
    }
}

/// The module that counts, and what is counted in it.
pub(crate) struct Counting {
    pub(crate) module: Vec<u8>,
    /// Of each function its branches.
    functions: Vec<Vec<Kind>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    If,
    BrIf,
}

impl Kind {
    /// Of an operator that is a branch.
    pub(crate) const fn of(operator: &Operator<'_>) -> Option<Self> {
        match operator {
            Operator::If { .. } => Some(Self::If),
            Operator::BrIf { .. } => Some(Self::BrIf),
            _ => None,
        }
    }
}

/// The same module, which counts.
pub(crate) fn counting(wasm: &[u8]) -> Result<Counting> {
    let (mut functions, mut first) = (Vec::new(), 0);
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            // None is imported.
            Payload::GlobalSection(globals) => first = globals.count(),
            Payload::CodeSectionEntry(body) => functions.push(branches(&body)?),
            _ => {}
        }
    }
    let mut writer = Writer {
        first,
        count: count_all(&functions),
        next: 0,
    };
    let mut module = Module::new();
    writer.parse_core_module(&mut module, Parser::new(0), wasm)?;
    Ok(Counting {
        module: module.finish(),
        functions,
    })
}

/// How many counters there are: see [`Writer`].
fn count_all(functions: &[Vec<Kind>]) -> u32 {
    let two_each = |branches: &Vec<Kind>| branches.len().saturating_mul(2).saturating_add(1);
    let all = functions.iter().map(two_each).sum::<usize>();
    u32::try_from(all.saturating_add(1)).unwrap_or(u32::MAX)
}

fn branches(body: &FunctionBody<'_>) -> Result<Vec<Kind>> {
    let mut kinds = Vec::new();
    for operator in body.get_operators_reader()? {
        kinds.extend(Kind::of(&operator?));
    }
    Ok(kinds)
}

impl Counting {
    /// The exported names of all counters.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        (0..count_all(&self.functions)).map(name)
    }

    /// What was counted; `global` knows the values of exported globals.
    pub(crate) fn read(&self, global: impl Fn(&str) -> u64) -> Traffic {
        let mut counters = (1..).map(|number| global(&name(number)));
        let mut next = || counters.next().unwrap_or_default();
        let mut executed = |branches: &Vec<Kind>| Executed {
            turn: next(),
            branches: branches
                .iter()
                .map(|kind| kind.read(next(), next()))
                .collect(),
        };
        self.functions.iter().map(&mut executed).collect()
    }
}

impl Kind {
    /// By how often it was come to, and gone on behind it.
    fn read(self, reached: u64, behind: u64) -> Branch {
        let taken = match self {
            Self::If => behind,
            Self::BrIf => reached.saturating_sub(behind),
        };
        Branch { reached, taken }
    }
}

/// The exported name of a counter.
fn name(number: u32) -> String {
    format!("counter {number}")
}

/// Writes counters into a module. The first counts the functions that were called. Then each function has one for when that
/// was, and two for each of its branches.
struct Writer {
    /// The global that is the first of them.
    first: u32,
    count: u32,
    /// The last that was used.
    next: u32,
}

impl Writer {
    /// The global that is the next counter.
    fn counter(&mut self) -> u32 {
        self.next = self.next.saturating_add(1);
        self.first.saturating_add(self.next)
    }
}

/// Adds one.
fn count(function: &mut Function, counter: u32) {
    let mut code = function.instructions();
    code.global_get(counter)
        .i64_const(1)
        .i64_add()
        .global_set(counter);
}

impl Reencode for Writer {
    type Error = Infallible;

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: GlobalSectionReader<'_>,
    ) -> Result<()> {
        utils::parse_global_section(self, globals, section)?;
        let counter = GlobalType {
            val_type: ValType::I64,
            mutable: true,
            shared: false,
        };
        for _ in 0..self.count {
            globals.global(counter, &ConstExpr::i64_const(0));
        }
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: ExportSectionReader<'_>,
    ) -> Result<()> {
        utils::parse_export_section(self, exports, section)?;
        for number in 0..self.count {
            exports.export(
                &name(number),
                ExportKind::Global,
                self.first.saturating_add(number),
            );
        }
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<()> {
        let mut function = self.new_function_with_parsed_locals(&body)?;
        let (turns, turn) = (self.first, self.counter());
        function
            .instructions()
            .global_get(turn)
            .i64_eqz()
            .if_(BlockType::Empty);
        count(&mut function, turns);
        function
            .instructions()
            .global_get(turns)
            .global_set(turn)
            .end();
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            let kind = Kind::of(&operator);
            let instruction: Instruction<'_> = self.instruction(operator)?;
            if kind.is_some() {
                count(&mut function, self.counter());
            }
            function.instruction(&instruction);
            if kind.is_some() {
                count(&mut function, self.counter());
            }
        }
        code.function(&function);
        Ok(())
    }
}
