//! An upstream that costs as little as can be: it reads a request whole and answers a fixed completion, or a stream of 20
//! chunks if the end of the body asks for one.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

const COMPLETION: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"Hello! How can I help you today?"},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29}}"#;

/// Serves for ever.
pub(crate) fn serve(listener: &TcpListener) {
    let whole = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{COMPLETION}",
        COMPLETION.len()
    );
    let mut events: String = (0..20)
        .map(|i| format!("data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o-mini\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" tok{i}\"}},\"finish_reason\":null}}],\"usage\":null}}\n\n"))
        .collect();
    events.push_str("data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o-mini\",\"choices\":[],\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":20,\"total_tokens\":39}}\n\ndata: [DONE]\n\n");
    let stream = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{events}\r\n0\r\n\r\n",
        events.len()
    );
    for connection in listener.incoming().flatten() {
        let (whole, stream) = (whole.clone(), stream.clone());
        thread::spawn(move || answer(connection, &whole, &stream));
    }
}

/// Answers until the connection ends.
fn answer(mut connection: TcpStream, whole: &str, stream: &str) -> Option<()> {
    connection.set_nodelay(true).ok()?;
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let head = loop {
            if let Some(end) = find(&bytes, b"\r\n\r\n") {
                break end + 4;
            }
            more(&mut connection, &mut piece, &mut bytes)?;
        };
        let header = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
        let length = header
            .lines()
            .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let end = if let Some(length) = length {
            let length: usize = length;
            while bytes.len() < head + length {
                more(&mut connection, &mut piece, &mut bytes)?;
            }
            head + length
        } else {
            while !bytes.ends_with(b"0\r\n\r\n") {
                more(&mut connection, &mut piece, &mut bytes)?;
            }
            bytes.len()
        };
        let tail = &bytes[head.max(end.saturating_sub(400))..end];
        let streams = find(tail, b"\"stream\":true").is_some();
        bytes.drain(..end);
        let answer = if streams { stream } else { whole };
        connection.write_all(answer.as_bytes()).ok()?;
    }
}

fn more(connection: &mut TcpStream, piece: &mut [u8], bytes: &mut Vec<u8>) -> Option<()> {
    let read = connection.read(piece).ok().filter(|read| *read > 0)?;
    bytes.extend_from_slice(&piece[..read]);
    Some(())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}
