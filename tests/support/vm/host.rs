//! The functions of proxy-wasm that a module calls.

use super::{Bytes, Fields, Host, NOW};
use wasmi::{Caller, Engine, Error, Extern, IntoFunc, Linker, Memory, Module, TypedFunc, Val};

const OK: i32 = 0;
const NOT_FOUND: i32 = 1;
const CAS_MISMATCH: i32 = 8;

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
pub(super) fn linker(engine: &Engine, module: &Module) -> Linker<Host> {
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
        let raw = encode(view.map(map));
        view.give(&raw, data, size)
    });
    define(linker, "proxy_get_header_map_value", |caller: Caller<'_, Host>, map: u32, key: u32, key_size: u32, data: u32, size: u32| -> Result32 {
        let mut view = View::of(caller, "get_header_map_value");
        assert_eq!((map, view.read(key, key_size)), (7, b"grpc-status".to_vec()), "of calls, only their status is asked for");
        view.give(b"0", data, size)
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

pub(super) fn size(bytes: &[u8]) -> i32 {
    i32::try_from(bytes.len()).unwrap()
}

pub(super) fn fields(list: &[(&str, &str)]) -> Fields {
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
