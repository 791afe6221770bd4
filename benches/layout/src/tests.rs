//! A module of three functions, of which the last is called first and the first never.

use crate::arrange::arrange;
use crate::copies;
use crate::count::{Branch, Traffic, add, counting};
use crate::service;
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ExportKind, ExportSection, Function, FunctionSection,
    GlobalSection, GlobalType, MemorySection, MemoryType, Module as Encoder, TypeSection, ValType,
};
use wasmi::{Engine, Instance, Linker, Module, Store};
use wasmparser::{KnownCustom, Operator, Parser, Payload};

/// `f(n)`: 7 where `n` is 1000, else `n + 1`, which another function finds out by counting up to it.
fn module() -> Vec<u8> {
    let mut module = Encoder::new();
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    module.section(&types);
    let mut functions = FunctionSection::new();
    functions.function(0).function(0).function(0);
    module.section(&functions);
    let mut globals = GlobalSection::new();
    let own = GlobalType {
        val_type: ValType::I32,
        mutable: true,
        shared: false,
    };
    globals.global(own, &ConstExpr::i32_const(5));
    module.section(&globals);
    let mut exports = ExportSection::new();
    exports.export("f", ExportKind::Func, 2);
    module.section(&exports);

    let mut seven = Function::new([]);
    seven.instructions().i32_const(7).end();
    let mut up_to = Function::new([(1, ValType::I32)]);
    let mut code = up_to.instructions();
    code.loop_(BlockType::Empty)
        .local_get(1)
        .i32_const(1)
        .i32_add()
        .local_tee(1);
    code.local_get(0)
        .i32_le_u()
        .br_if(0)
        .end()
        .local_get(1)
        .end();
    let mut f = Function::new([]);
    let mut code = f.instructions();
    code.local_get(0).i32_const(1000).i32_eq();
    code.if_(BlockType::Result(ValType::I32))
        .local_get(0)
        .call(0);
    code.else_().local_get(0).call(1).end().end();
    let mut code = CodeSection::new();
    code.function(&seven).function(&up_to).function(&f);
    module.section(&code);
    module.finish()
}

fn instance(wasm: &[u8]) -> (Store<()>, Instance) {
    let engine = Engine::default();
    let module = Module::new(&engine, wasm).expect("valid");
    let mut store = Store::new(&engine, ());
    let linker = Linker::new(&engine);
    let instance = linker.instantiate_and_start(&mut store, &module).unwrap();
    (store, instance)
}

fn call((store, instance): &mut (Store<()>, Instance), argument: i32) -> i32 {
    let f = instance.get_typed_func::<i32, i32>(&*store, "f").unwrap();
    f.call(store, argument).unwrap()
}

fn traffic(arguments: &[i32]) -> Traffic {
    let counting = counting(&module()).unwrap();
    let mut vm = instance(&counting.module);
    for argument in arguments {
        assert_eq!(call(&mut vm, *argument), argument.wrapping_add(1));
    }
    let (store, instance) = vm;
    counting.read(|name| {
        let global = instance.get_global(&store, name).expect("exported");
        global.get(&store).i64().unwrap().cast_unsigned()
    })
}

#[test]
fn calls_and_branches_are_counted() {
    let traffic = traffic(&[3, 99]);
    assert_eq!(
        traffic.iter().map(|of| of.turn).collect::<Vec<_>>(),
        [0, 2, 1]
    );
    let branch = |function: usize| traffic[function].branches.clone();
    assert_eq!(branch(0), []);
    let looped = Branch {
        reached: 104,
        taken: 102,
    };
    assert_eq!(branch(1), [looped]);
    assert_eq!(
        branch(2),
        [Branch {
            reached: 2,
            taken: 0
        }]
    );
}

#[test]
fn what_is_called_first_comes_first_and_does_the_same() {
    let laid_out = arrange(&module(), &traffic(&[3, 99])).unwrap();
    let mut vm = instance(&laid_out);
    assert_eq!([0, 1000, 1001].map(|n| call(&mut vm, n)), [1, 7, 1002]);
    let (mut bodies, mut hints) = (Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(&laid_out) {
        match payload.unwrap() {
            Payload::CodeSectionEntry(body) => bodies.push(body),
            Payload::CustomSection(section) => {
                let KnownCustom::BranchHints(section) = section.as_known() else {
                    panic!("another section");
                };
                // V8 wants them before the code.
                assert!(bodies.is_empty());
                for of in section {
                    let of = of.unwrap();
                    hints.extend(of.hints.into_iter().map(|hint| {
                        let hint = hint.unwrap();
                        (of.func, hint.func_offset, hint.taken)
                    }));
                }
            }
            _ => {}
        }
    }
    let operator = |(function, offset, taken): (u32, u32, bool)| {
        let body = &bodies[function as usize];
        let operators = body
            .get_operators_reader()
            .unwrap()
            .into_iter_with_offsets();
        let at = body.range().start + offset as usize;
        let mut there = operators
            .map(Result::unwrap)
            .filter(|(_, offset)| *offset == at);
        let (operator, _) = there.next().expect("an operator begins there");
        (function, matches!(operator, Operator::If { .. }), taken)
    };
    // `f`, then the one that it called, then the one that nothing called.
    let hinted: Vec<_> = hints.into_iter().map(operator).collect();
    assert_eq!(hinted, [(0, true, false), (1, false, true)]);
    assert_eq!(
        bodies[2]
            .get_operators_reader()
            .unwrap()
            .into_iter()
            .count(),
        2
    );
}

#[test]
fn what_comes_later_is_added() {
    let mut both = traffic(&[3]);
    add(&mut both, traffic(&[99]));
    assert_eq!(both, traffic(&[3, 99]));
    let mut all = Traffic::default();
    add(&mut all, traffic(&[3]));
    assert_eq!(all, traffic(&[3]));
}

#[test]
fn each_descriptor_has_a_status() {
    // Domain "a", two descriptors of two bytes, one hit.
    let call = [
        0, 0, 0, 0, 13, 0x0a, 1, b'a', 0x12, 2, 0x0a, 0, 0x12, 2, 0x0a, 0, 0x18, 1,
    ];
    let answer = service::answer(&call);
    assert_eq!(answer[..7], [0, 0, 0, 0, 42, 0x08, 1]);
    assert_eq!(answer[7..27], answer[27..]);
}

/// `f(n)` copies `n` bytes from 100 to 200 and back, and answers with `n + 1`; the other function is what it copies with.
fn copying() -> Vec<u8> {
    let mut module = Encoder::new();
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32; 3], []);
    types.ty().function([ValType::I32], [ValType::I32]);
    module.section(&types);
    let mut functions = FunctionSection::new();
    functions.function(0).function(1);
    module.section(&functions);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    module.section(&memories);
    let mut exports = ExportSection::new();
    exports.export("copy_bytes", ExportKind::Func, 0);
    exports.export("f", ExportKind::Func, 1);
    module.section(&exports);

    let mut copy = Function::new([]);
    let mut code = copy.instructions();
    code.local_get(0).local_get(1).local_get(2);
    code.memory_copy(0, 0).end();
    let mut f = Function::new([]);
    let mut code = f.instructions();
    code.i32_const(200).i32_const(100).local_get(0);
    code.memory_copy(0, 0);
    code.i32_const(100).i32_const(200).local_get(0);
    code.memory_copy(0, 0);
    code.local_get(0).i32_const(1).i32_add().end();
    let mut code = CodeSection::new();
    code.function(&copy).function(&f);
    module.section(&code);
    module.finish()
}

#[test]
fn the_module_copies_by_its_own_function() {
    let called = copies::called(&copying()).unwrap();
    assert_eq!(call(&mut instance(&called), 9), 10);
    let mut copies = Vec::new();
    for payload in Parser::new(0).parse_all(&called) {
        match payload.unwrap() {
            Payload::ExportSection(section) => assert_eq!(section.count(), 1),
            Payload::CodeSectionEntry(body) => {
                let operators = body.get_operators_reader().unwrap().into_iter();
                let operators = operators.map(Result::unwrap);
                copies.push(
                    operators.fold((0, 0), |(copies, calls), operator| match operator {
                        Operator::MemoryCopy { .. } => (copies + 1, calls),
                        Operator::Call { function_index: 0 } => (copies, calls + 1),
                        _ => (copies, calls),
                    }),
                );
            }
            _ => {}
        }
    }
    assert_eq!(copies, [(1, 0), (0, 2)]);
    assert_eq!(copies::called(&module()).unwrap(), module());
}
