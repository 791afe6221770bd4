//! The filter's module in an interpreter that counts instructions, with the host functions of proxy-wasm that it calls:
//! Envoy as far as one stream at a time can tell, with a clock that stands still. The same on every machine.

mod service;

use super::counted::{COUNTER, counted};
use super::envoy::required;
use std::collections::{BTreeMap, HashMap};
use wasmi::{
    Caller, Engine, Error, Extern, Instance, IntoFunc, Linker, Memory, Module, Store, TypedFunc,
    Val,
};

const ROOT: i32 = 1;
const OK: i32 = 0;
const NOT_FOUND: i32 = 1;
const CAS_MISMATCH: i32 = 8;
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

/// One worker's VM.
pub(crate) struct Vm {
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
    /// `None`: there is no module, the test is skipped.
    pub(crate) fn start(configuration: &str) -> Option<Self> {
        let wasm = std::fs::read(required("COHORT_WASM")?).expect("the module can be read");
        let engine = Engine::default();
        let module = Module::new(&engine, counted(&wasm)).expect("the module is valid");
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
        Some(vm)
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
        let counter = self.instance.get_global(&self.store, COUNTER);
        let count = counter.expect("exported").get(&self.store).i64();
        count.expect("a number").cast_unsigned()
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
            host.answer = service::answer(&call);
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

/// Shows a module's memory, and the host's side of it.
struct View<'a>(Caller<'a, Host>, Memory);

impl<'a> View<'a> {
    /// A host function was called.
    fn of(mut caller: Caller<'a, Host>, name: &'static str) -> Self {
        *caller.data_mut().calls.entry(name).or_default() += 1;
        let memory = caller.get_export("memory").and_then(Extern::into_memory);
        Self(caller, memory.expect("the module exports its memory"))
    }

    fn read(&self, at: u32, size: u32) -> Bytes {
        let (at, size) = (at as usize, size as usize);
        self.1.data(&self.0)[at..at + size].to_vec()
    }

    fn write(&mut self, at: u32, bytes: &[u8]) {
        let at = at as usize;
        self.1.data_mut(&mut self.0)[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Puts bytes into memory that the module allocates.
    fn give(&mut self, bytes: &[u8], data: u32, size_at: u32) -> Result<i32, Error> {
        if bytes.is_empty() {
            self.write(data, &[0; 4]);
        } else {
            let allocate = self.0.get_export("proxy_on_memory_allocate");
            let allocate = allocate.and_then(Extern::into_func).expect("exported");
            let allocate: TypedFunc<i32, i32> = allocate.typed(&self.0)?;
            let at = allocate.call(&mut self.0, size(bytes))?;
            self.write(at.cast_unsigned(), bytes);
            self.write(data, &at.to_le_bytes());
        }
        self.write(size_at, &size(bytes).to_le_bytes());
        Ok(OK)
    }

    fn map(&mut self, map: u32) -> &mut Fields {
        match map {
            0 => &mut self.0.data_mut().request,
            2 => &mut self.0.data_mut().response,
            other => panic!("header map {other}"),
        }
    }

    fn buffer(&mut self, buffer: u32) -> &mut Bytes {
        match buffer {
            0 => &mut self.0.data_mut().request_body,
            1 => &mut self.0.data_mut().response_body,
            4 => &mut self.0.data_mut().answer,
            7 => &mut self.0.data_mut().configuration,
            other => panic!("buffer {other}"),
        }
    }
}

/// Links what the module imports; what it should not call traps.
fn linker(engine: &Engine, module: &Module) -> Linker<Host> {
    let mut linker = Linker::new(engine);
    for import in module.imports() {
        let (from, name) = (import.module(), import.name());
        let missing = format!("{from}.{name} is not known to the test");
        let function = import.ty().func().expect("only functions are imported");
        let trap = move |_: Caller<'_, Host>, _: &[Val], _: &mut [Val]| -> Result<(), Error> {
            Err(Error::new(missing.clone()))
        };
        linker.func_new(from, name, function.clone(), trap).unwrap();
    }
    linker.allow_shadowing(true);
    headers(&mut linker);
    data(&mut linker);
    calls(&mut linker);
    rest(&mut linker);
    linker
}

fn define<P, R>(linker: &mut Linker<Host>, name: &str, function: impl IntoFunc<Host, P, R>) {
    let module = if name.starts_with("proxy_") {
        "env"
    } else {
        "wasi_snapshot_preview1"
    };
    linker.func_wrap(module, name, function).unwrap();
}

type Result32 = Result<i32, Error>;

#[rustfmt::skip]
fn headers(linker: &mut Linker<Host>) {
    define(linker, "proxy_get_header_map_pairs", |caller: Caller<'_, Host>, map: u32, data: u32, size: u32| -> Result32 {
        let mut view = View::of(caller, "get_header_map_pairs");
        // Of calls, only trailers are asked for.
        let raw = match map {
            7 => encode(&fields(&[("grpc-status", "0")])),
            _ => encode(view.map(map)),
        };
        view.give(&raw, data, size)
    });
    define(linker, "proxy_set_header_map_pairs", |caller: Caller<'_, Host>, map: u32, data: u32, size: u32| -> Result32 {
        let mut view = View::of(caller, "set_header_map_pairs");
        let fields = decode(&view.read(data, size));
        *view.map(map) = fields;
        Ok(OK)
    });
    define(linker, "proxy_add_header_map_value", |caller: Caller<'_, Host>, map: u32, key: u32, key_size: u32, value: u32, value_size: u32| -> Result32 {
        let mut view = View::of(caller, "add_header_map_value");
        let (key, value) = (view.read(key, key_size), view.read(value, value_size));
        view.map(map).push((key, value));
        Ok(OK)
    });
    define(linker, "proxy_replace_header_map_value", |caller: Caller<'_, Host>, map: u32, key: u32, key_size: u32, value: u32, value_size: u32| -> Result32 {
        let mut view = View::of(caller, "replace_header_map_value");
        let (key, value) = (view.read(key, key_size), view.read(value, value_size));
        let fields = view.map(map);
        fields.retain(|(name, _)| *name != key);
        fields.push((key, value));
        Ok(OK)
    });
    define(linker, "proxy_remove_header_map_value", |caller: Caller<'_, Host>, map: u32, key: u32, key_size: u32| -> Result32 {
        let mut view = View::of(caller, "remove_header_map_value");
        let key = view.read(key, key_size);
        view.map(map).retain(|(name, _)| *name != key);
        Ok(OK)
    });
}

#[rustfmt::skip]
fn data(linker: &mut Linker<Host>) {
    define(linker, "proxy_get_buffer_bytes", |caller: Caller<'_, Host>, buffer: u32, start: u32, max: u32, data: u32, size: u32| -> Result32 {
        let mut view = View::of(caller, "get_buffer_bytes");
        let whole = view.buffer(buffer);
        let start = (start as usize).min(whole.len());
        let end = whole.len().min(start.saturating_add(max as usize));
        let bytes = whole[start..end].to_vec();
        view.give(&bytes, data, size)
    });
    define(linker, "proxy_set_buffer_bytes", |caller: Caller<'_, Host>, buffer: u32, start: u32, replaced: u32, data: u32, size: u32| -> Result32 {
        let mut view = View::of(caller, "set_buffer_bytes");
        let bytes = view.read(data, size);
        let whole = view.buffer(buffer);
        assert!(start == 0 && replaced as usize >= whole.len(), "Envoy cannot splice");
        *whole = bytes;
        Ok(OK)
    });
    define(linker, "proxy_get_shared_data", |caller: Caller<'_, Host>, key: u32, key_size: u32, data: u32, size: u32, cas: u32| -> Result32 {
        let mut view = View::of(caller, "get_shared_data");
        let key = view.read(key, key_size);
        let Some((value, version)) = view.0.data().shared.get(&key).cloned() else {
            return Ok(NOT_FOUND);
        };
        view.write(cas, &version.to_le_bytes());
        view.give(&value, data, size)
    });
    define(linker, "proxy_set_shared_data", |caller: Caller<'_, Host>, key: u32, key_size: u32, data: u32, size: u32, cas: u32| -> Result32 {
        let mut view = View::of(caller, "set_shared_data");
        let (key, value) = (view.read(key, key_size), view.read(data, size));
        let shared = &mut view.0.data_mut().shared;
        let version = shared.get(&key).map(|(_, version)| *version);
        if version.is_some_and(|version| cas != 0 && cas != version) {
            return Ok(CAS_MISMATCH);
        }
        // All writes of a process are numbered in one row.
        let newest = shared.values().map(|(_, version)| *version).max();
        shared.insert(key, (value, newest.unwrap_or(0) + 1));
        Ok(OK)
    });
    define(linker, "proxy_get_property", |caller: Caller<'_, Host>, path: u32, path_size: u32, data: u32, size: u32| -> Result32 {
        let mut view = View::of(caller, "get_property");
        let path = view.read(path, path_size);
        match &path[..] {
            b"source\0address" | b"upstream\0address" => view.give(b"192.0.2.1:40000", data, size),
            b"response\0flags" => view.give(&[0; 8], data, size),
            other => panic!("property {}", other.escape_ascii()),
        }
    });
    define(linker, "proxy_set_property", |caller: Caller<'_, Host>, path: u32, path_size: u32, data: u32, size: u32| -> Result32 {
        let mut view = View::of(caller, "set_property");
        let path = String::from_utf8(view.read(path, path_size)).expect("text");
        let value = view.read(data, size);
        view.0.data_mut().properties.insert(path, value);
        Ok(OK)
    });
}

#[rustfmt::skip]
fn calls(linker: &mut Linker<Host>) {
    define(linker, "proxy_set_effective_context", |caller: Caller<'_, Host>, _: u32| -> Result32 {
        View::of(caller, "set_effective_context");
        Ok(OK)
    });
    define(linker, "proxy_continue_stream", |caller: Caller<'_, Host>, _: u32| -> Result32 {
        View::of(caller, "continue_stream");
        Ok(OK)
    });
    define(linker, "proxy_http_call", |caller: Caller<'_, Host>, _: u32, _: u32, _: u32, _: u32, body: u32, size: u32, _: u32, _: u32, _: u32, token: u32| -> Result32 {
        let mut view = View::of(caller, "http_call");
        let body = view.read(body, size);
        let host = view.0.data_mut();
        host.asked.push(body);
        let id = u32::try_from(host.answered + host.asked.len()).unwrap();
        view.write(token, &id.to_le_bytes());
        Ok(OK)
    });
}

#[rustfmt::skip]
fn rest(linker: &mut Linker<Host>) {
    define(linker, "proxy_send_local_response", |caller: Caller<'_, Host>, status: u32, _: u32, _: u32, body: u32, body_size: u32, _: u32, _: u32, _: i32| -> Result32 {
        let mut view = View::of(caller, "send_local_response");
        let body = view.read(body, body_size);
        view.0.data_mut().reply_body = body;
        view.0.data_mut().reply = u16::try_from(status).ok();
        Ok(OK)
    });
    define(linker, "proxy_get_current_time_nanoseconds", |caller: Caller<'_, Host>, time: u32| -> Result32 {
        View::of(caller, "get_current_time_nanoseconds").write(time, &NOW.to_le_bytes());
        Ok(OK)
    });
    define(linker, "proxy_set_tick_period_milliseconds", |caller: Caller<'_, Host>, _: u32| -> Result32 {
        View::of(caller, "set_tick_period");
        Ok(OK)
    });
    define(linker, "proxy_define_metric", |caller: Caller<'_, Host>, _: u32, name: u32, name_size: u32, id: u32| -> Result32 {
        let mut view = View::of(caller, "define_metric");
        let name = String::from_utf8(view.read(name, name_size)).expect("text");
        let metrics = &mut view.0.data_mut().metrics;
        metrics.push(name);
        let new = u32::try_from(metrics.len()).unwrap();
        view.write(id, &new.to_le_bytes());
        Ok(OK)
    });
    define(linker, "proxy_increment_metric", |caller: Caller<'_, Host>, _: u32, _: i64| -> Result32 {
        View::of(caller, "increment_metric");
        Ok(OK)
    });
    define(linker, "proxy_record_metric", |caller: Caller<'_, Host>, _: u32, _: i64| -> Result32 {
        View::of(caller, "record_metric");
        Ok(OK)
    });
    define(linker, "proxy_log", |caller: Caller<'_, Host>, _: u32, text: u32, size: u32| -> Result32 {
        let mut view = View::of(caller, "log");
        let line = String::from_utf8_lossy(&view.read(text, size)).into_owned();
        view.0.data_mut().log += &(line + "\n");
        Ok(OK)
    });
    define(linker, "random_get", |caller: Caller<'_, Host>, at: u32, size: u32| -> Result32 {
        View::of(caller, "random_get").write(at, &vec![7; size as usize]);
        Ok(OK)
    });
    // One variable: `OPENAI_API_KEY=secret`, NUL behind it.
    define(linker, "environ_sizes_get", |caller: Caller<'_, Host>, count: u32, size: u32| -> Result32 {
        let mut view = View::of(caller, "environ_sizes_get");
        view.write(count, &1_u32.to_le_bytes());
        view.write(size, &u32::try_from(ENVIRONMENT.len()).unwrap().to_le_bytes());
        Ok(OK)
    });
    define(linker, "environ_get", |caller: Caller<'_, Host>, pointers: u32, at: u32| -> Result32 {
        let mut view = View::of(caller, "environ_get");
        view.write(at, ENVIRONMENT);
        view.write(pointers, &at.to_le_bytes());
        Ok(OK)
    });
}

const ENVIRONMENT: &[u8] = b"OPENAI_API_KEY=secret\0";

fn size(bytes: &[u8]) -> i32 {
    i32::try_from(bytes.len()).unwrap()
}

fn fields(list: &[(&str, &str)]) -> Fields {
    let bytes = |text: &str| text.as_bytes().to_vec();
    list.iter()
        .map(|(name, value)| (bytes(name), bytes(value)))
        .collect()
}

fn encode(fields: &Fields) -> Bytes {
    let mut raw = size_prefix(fields.len());
    for (name, value) in fields {
        raw.extend(size_prefix(name.len()));
        raw.extend(size_prefix(value.len()));
    }
    for (name, value) in fields {
        raw.extend([name, &b"\0"[..], value, b"\0"].concat());
    }
    raw
}

fn decode(raw: &[u8]) -> Fields {
    let word = |at: usize| u32::from_le_bytes(raw[at..at + 4].try_into().unwrap()) as usize;
    let mut at = 4 + word(0) * 8;
    let mut take = |len: usize| {
        at += len + 1;
        raw[at - len - 1..at - 1].to_vec()
    };
    (0..word(0))
        .map(|index| (take(word(4 + index * 8)), take(word(8 + index * 8))))
        .collect()
}

fn size_prefix(size: usize) -> Bytes {
    u32::try_from(size).unwrap().to_le_bytes().to_vec()
}
