//! What the module has of its own in place of `memory.copy` and of the C library's `memcmp`, at every length, overlap and
//! difference. Looked at where the linker left it: the last step of `make build` takes their names out.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::cmp::Ordering;
use std::fs;
use std::path::Path;
use support::envoy::required;
use wasmi::{Engine, Linker, Memory, Module, Store, TypedFunc};

/// Where nothing of the module's own is.
const PLACE: usize = 1 << 20;
/// What is written there.
const ROOM: usize = 512;
const SIZES: std::ops::Range<usize> = 0..200;

struct Linked {
    store: Store<()>,
    memory: Memory,
    copy: TypedFunc<(i32, i32, i32), ()>,
    compare: TypedFunc<(i32, i32, i32), i32>,
}

fn linked() -> Option<Linked> {
    let wasm = required("COHORT_WASM")?;
    let built = Path::new(&wasm).with_file_name("wasm32-wasip1/wasm/cohort.wasm");
    let bytes = fs::read(&built).unwrap_or_else(|error| panic!("{}: {error}", built.display()));
    let engine = Engine::default();
    let module = Module::new(&engine, &bytes[..]).expect("valid");
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    for import in module.imports() {
        let ty = import.ty().func().expect("a function").clone();
        let never = |_: wasmi::Caller<'_, ()>, _: &[wasmi::Val], _: &mut [wasmi::Val]| Ok(());
        linker
            .func_new(import.module(), import.name(), ty, never)
            .expect("none clash");
    }
    let instance = linker
        .instantiate_and_start(&mut store, &module)
        .expect("starts");
    let memory = instance.get_memory(&store, "memory").expect("exported");
    memory.grow(&mut store, 32).expect("there is room");
    let copy = instance
        .get_typed_func(&store, "copy_bytes")
        .expect("exported");
    let compare = instance.get_typed_func(&store, "memcmp").expect("exported");
    Some(Linked {
        store,
        memory,
        copy,
        compare,
    })
}

/// Bytes of which no two near each other are the same.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8).collect()
}

fn address(offset: usize) -> i32 {
    i32::try_from(PLACE + offset).unwrap()
}

#[test]
fn copies_are_those_of_memmove() {
    let Some(mut module) = linked() else { return };
    for size in SIZES {
        let length = i32::try_from(size).unwrap();
        // Apart, and over each other either way.
        for to in [0, 99, 100 - size.min(9), 100, 101, 100 + size / 2, 300] {
            let mut expected = bytes(ROOM);
            module
                .memory
                .write(&mut module.store, PLACE, &expected)
                .unwrap();
            expected.copy_within(100..100 + size, to);
            let arguments = (address(to), address(100), length);
            module.copy.call(&mut module.store, arguments).unwrap();
            let mut found = vec![0; ROOM];
            module
                .memory
                .read(&module.store, PLACE, &mut found)
                .unwrap();
            assert_eq!(found, expected, "{size} bytes from 100 to {to}");
        }
    }
}

#[test]
fn comparisons_are_those_of_memcmp() {
    let Some(mut module) = linked() else { return };
    for size in SIZES {
        let mut one = bytes(size);
        module.memory.write(&mut module.store, PLACE, &one).unwrap();
        let places = (0..size).map(Some).chain([None]);
        for (place, change) in places.flat_map(|place| [(place, 1), (place, 0x80)]) {
            if let Some(place) = place {
                one[place] ^= change;
            }
            module
                .memory
                .write(&mut module.store, PLACE + 1024, &one)
                .unwrap();
            let arguments = (address(1024), address(0), i32::try_from(size).unwrap());
            let found = module.compare.call(&mut module.store, arguments).unwrap();
            assert_eq!(
                found.cmp(&0),
                one.cmp(&bytes(size)),
                "{size} bytes, {place:?}"
            );
            if let Some(place) = place {
                one[place] ^= change;
            } else {
                assert_eq!(found.cmp(&0), Ordering::Equal);
            }
        }
    }
}
