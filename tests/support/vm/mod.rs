//! The filter's module in an interpreter that counts instructions, with the host functions of proxy-wasm that it calls:
//! Envoy as far as one stream at a time can tell, with a clock that stands still. The same on every machine.

mod host;
pub(crate) mod kinds;

use host::{fields, linker, size};
use std::collections::{BTreeMap, HashMap};
use wasmi::{Engine, Instance, Module, Store, Val};

/// The global in which a module counts the instructions that it executes, if it does.
pub(crate) const INSTRUCTIONS: &str = "instructions";

const ROOT: i32 = 1;
/// 2026-01-01T12:00:20Z, in nanoseconds.
const NOW: u64 = 1_767_268_820_000_000_000;

type Bytes = Vec<u8>;
type Fields = Vec<(Bytes, Bytes)>;

/// What Envoy has of the stream, and what outlives it.
#[derive(Default)]
struct Host {
    configuration: Bytes,
    request: Fields,
    response: Fields,
    request_body: Bytes,
    response_body: Bytes,
    shared: HashMap<Bytes, (Bytes, u32)>,
    properties: BTreeMap<String, Bytes>,
    metrics: Vec<String>,
    /// Bodies for the rate-limit service that were not answered yet, and how many there were before them.
    asked: Vec<Bytes>,
    answered: usize,
    /// The body of the answer that is told of.
    answer: Bytes,
    reply: Option<u16>,
    reply_body: Bytes,
    calls: BTreeMap<&'static str, u32>,
    log: String,
}

/// What one request took.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Cost {
    pub(crate) instructions: u64,
    /// Calls of host functions by name, and of the module's callbacks together.
    pub(crate) calls: BTreeMap<&'static str, u32>,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    /// What the client got.
    pub(crate) body: String,
    pub(crate) event: String,
    pub(crate) cost: Cost,
}

/// Answers a call to the rate-limit service.
pub(crate) type Service = fn(&[u8]) -> Vec<u8>;

/// One worker's VM.
pub(crate) struct Vm {
    service: Service,
    store: Store<Host>,
    instance: Instance,
    streams: i32,
}

/// Headers and body, as they stand on the wire.
pub(crate) struct Message<'a> {
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// In the pieces that come at a time.
    pub(crate) body: Vec<&'a [u8]>,
}

impl Vm {
    /// With this configuration in force.
    pub(crate) fn start(wasm: &[u8], configuration: &str, service: Service) -> Self {
        let engine = Engine::default();
        let module = Module::new(&engine, wasm).expect("the module is valid");
        let host = Host {
            configuration: configuration.as_bytes().to_vec(),
            ..Host::default()
        };
        let mut store = Store::new(&engine, host);
        let linker = linker(&engine, &module);
        let instance = linker
            .instantiate_and_start(&mut store, &module)
            .expect("every import is there");
        let mut vm = Self {
            service,
            store,
            instance,
            streams: ROOT,
        };
        vm.callback("_initialize", &[]);
        vm.callback("proxy_on_context_create", &[ROOT, 0]);
        assert_eq!(vm.callback("proxy_on_vm_start", &[ROOT, 0]), 1);
        let size = size(configuration.as_bytes());
        let accepted = vm.callback("proxy_on_configure", &[ROOT, size]);
        assert_eq!(accepted, 1, "{}", vm.store.data().log);
        // Warnings about the configuration.
        vm.store.data_mut().log.clear();
        vm
    }

    /// What it took so far: until the first exchange, to start.
    pub(crate) fn cost(&self) -> Cost {
        Cost {
            instructions: self.instructions(),
            calls: self.store.data().calls.clone(),
        }
    }

    /// Executed so far.
    fn instructions(&self) -> u64 {
        self.global(INSTRUCTIONS).cast_unsigned()
    }

    /// The value of an exported global, 0 where there is none.
    pub(crate) fn global(&self, name: &str) -> i64 {
        let global = self.instance.get_global(&self.store, name);
        let value = global.map(|global| global.get(&self.store));
        value.and_then(|value| value.i64()).unwrap_or(0)
    }

    /// Sets an exported global to 0.
    pub(crate) fn clear(&mut self, name: &str) {
        if let Some(global) = self.instance.get_global(&self.store, name) {
            global.set(&mut self.store, Val::I64(0)).expect("a counter");
        }
    }

    /// Pages of memory, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let memory = self.instance.get_memory(&self.store, "memory");
        memory.expect("exported").data_size(&self.store) as u64
    }

    /// One stream from its creation to its deletion, with the callbacks that Envoy makes for HTTP/1: the end of a body
    /// comes by itself.
    pub(crate) fn exchange(&mut self, request: &Message<'_>, answer: &Message<'_>) -> Outcome {
        self.streams += 1;
        let id = self.streams;
        let before = self.instructions();
        let host = self.store.data_mut();
        host.calls.clear();
        host.properties.clear();
        host.reply = None;
        host.request = fields(request.headers);
        self.callback("proxy_on_context_create", &[id, ROOT]);
        let body = if self.ask(id, request) {
            self.answer(id, answer)
        } else {
            // Our own answer passes through our own filter.
            let status = self.store.data().reply.unwrap_or(0).to_string();
            self.store.data_mut().response = fields(&[(":status", &status)]);
            self.callback("proxy_on_response_headers", &[id, 1, 0]);
            self.callback("proxy_on_response_body", &[id, 100, 1]);
            std::mem::take(&mut self.store.data_mut().reply_body)
        };
        self.callback("proxy_on_log", &[id]);
        assert_eq!(self.callback("proxy_on_done", &[id]), 1);
        self.callback("proxy_on_delete", &[id]);
        self.answer_calls();
        let instructions = self.instructions() - before;
        let host = self.store.data();
        assert_eq!(host.log, "", "nothing is logged");
        let event = host.properties.get("cohort_event").cloned();
        let status = host
            .response
            .iter()
            .find(|(name, _)| name == b":status")
            .map_or(&b"0"[..], |(_, value)| value);
        Outcome {
            status: String::from_utf8_lossy(status).parse().expect("a number"),
            body: String::from_utf8(body).expect("text"),
            event: String::from_utf8(event.unwrap_or_default()).expect("text"),
            cost: Cost {
                instructions,
                calls: host.calls.clone(),
            },
        }
    }

    /// Whether the request went on.
    fn ask(&mut self, id: i32, request: &Message<'_>) -> bool {
        self.store.data_mut().request_body.clear();
        let end = request.body.is_empty();
        let count = i32::try_from(request.headers.len()).unwrap();
        let mut held = self.callback("proxy_on_request_headers", &[id, count, i32::from(end)]) != 0;
        let ends = (!end).then_some(&b""[..]);
        for chunk in request.body.iter().copied().chain(ends) {
            if self.store.data().reply.is_some() {
                return false;
            }
            let buffered = &mut self.store.data_mut().request_body;
            if !held {
                buffered.clear();
            }
            buffered.extend_from_slice(chunk);
            let size = size(buffered);
            let end = i32::from(chunk.is_empty());
            held = self.callback("proxy_on_request_body", &[id, size, end]) != 0;
        }
        if held {
            self.answer_calls();
        }
        self.store.data().reply.is_none()
    }

    /// Lets the rate-limit service answer what it was asked.
    fn answer_calls(&mut self) {
        for call in std::mem::take(&mut self.store.data_mut().asked) {
            let host = self.store.data_mut();
            host.answered += 1;
            let token = i32::try_from(host.answered).unwrap();
            host.answer = (self.service)(&call);
            let size = size(&host.answer);
            // All calls are made in the root's name. Two fields in the header, one trailer.
            self.callback("proxy_on_http_call_response", &[ROOT, token, 2, size, 1]);
        }
    }

    /// What the client gets.
    fn answer(&mut self, id: i32, answer: &Message<'_>) -> Bytes {
        self.store.data_mut().response = fields(answer.headers);
        let count = i32::try_from(answer.headers.len()).unwrap();
        self.callback("proxy_on_response_headers", &[id, count, 0]);
        let mut body = Bytes::new();
        let mut held = false;
        for chunk in answer.body.iter().copied().chain([&b""[..]]) {
            let buffered = &mut self.store.data_mut().response_body;
            if !held {
                buffered.clear();
            }
            buffered.extend_from_slice(chunk);
            let size = size(buffered);
            let end = i32::from(chunk.is_empty());
            held = self.callback("proxy_on_response_body", &[id, size, end]) != 0;
            if !held {
                body.extend_from_slice(&self.store.data().response_body);
            }
        }
        body
    }

    /// Calls an export; 0 where the module has none of the name, as Envoy does: `Continue`, `true` from `on_done`.
    fn callback(&mut self, name: &'static str, arguments: &[i32]) -> i32 {
        let Some(function) = self.instance.get_func(&self.store, name) else {
            assert!(!["_initialize", "proxy_on_configure"].contains(&name));
            return i32::from(["proxy_on_done", "proxy_on_vm_start"].contains(&name));
        };
        *self.store.data_mut().calls.entry("callbacks").or_default() += 1;
        let arguments: Vec<Val> = arguments.iter().map(|value| Val::I32(*value)).collect();
        let results = function.ty(&self.store).results().len();
        let mut result = vec![Val::I32(0); results];
        if let Err(error) = function.call(&mut self.store, &arguments, &mut result) {
            panic!("{name}: {error}; {}", self.store.data().log);
        }
        result.first().and_then(Val::i32).unwrap_or(0)
    }
}
