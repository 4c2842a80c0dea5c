//! The peer made with tungstenite. See README.md, one folder up, for what a peer does.

use std::io::Read;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::{env, error, process, thread};

use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::server::{Request, Response};
use tungstenite::http::{HeaderMap, HeaderValue};
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame, FrameHeader};
use tungstenite::{Message, WebSocket};

type Error = Box<dyn error::Error + Send + Sync>;

const PROTOCOLS: &str = "Sec-WebSocket-Protocol";

const CANNOT: &str = r#"{"cannot": {"deflate": "tungstenite knows no extensions"}}"#;

fn main() {
    if let Err(err) = run() {
        eprintln!("{}", err);
        process::exit(1);
    }
}

fn run() -> Result<(), Error> {
    let config: Value = serde_json::from_str(&env::args().nth(1).ok_or("no argument")?)?;
    let subprotocols = strings(&config["subprotocols"]);
    if config["role"] != "version" {
        thread::spawn(end_with_input);
    }
    match config["role"].as_str() {
        Some("version") => {
            println!("tungstenite {}", version());
            println!("{}", CANNOT);
            Ok(())
        }
        Some("server") => serve(&subprotocols),
        Some("client") => {
            let mut urls = strings(&config["urls"]);
            urls.extend(config["url"].as_str().map(String::from));
            urls.iter().try_for_each(|url| connect(url, &subprotocols))
        }
        _ => Err("unknown role".into()),
    }
}

/// Returns the version that Cargo.lock has.
fn version() -> &'static str {
    let lock = include_str!("Cargo.lock");
    let entry = lock.split("name = \"tungstenite\"\nversion = \"").nth(1);
    entry.and_then(|rest| rest.split('"').next()).unwrap_or("")
}

fn strings(list: &Value) -> Vec<String> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or(&[]);
    list.iter().filter_map(|v| v.as_str().map(String::from)).collect()
}

fn end_with_input() {
    let mut buffer = [0; 1024];
    while let Ok(1..) = std::io::stdin().read(&mut buffer) {}
    process::exit(0);
}

fn serve(subprotocols: &[String]) -> Result<(), Error> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        if let Err(err) = accept(stream?, subprotocols) {
            eprintln!("{}", err);
        }
    }
    Ok(())
}

fn accept(stream: TcpStream, subprotocols: &[String]) -> Result<(), Error> {
    let mut path = String::new();
    let mut chosen = String::new();
    let callback = |request: &Request, mut response: Response| {
        path = request.uri().path().to_string();
        let offered = field(request.headers());
        let mut offered = offered.split(',').map(str::trim);
        if let Some(name) = offered.find(|name| subprotocols.iter().any(|s| s == name)) {
            chosen = name.to_string();
            response.headers_mut().insert(PROTOCOLS, HeaderValue::from_str(name).unwrap());
        }
        Ok(response)
    };
    let socket = tungstenite::accept_hdr(stream, callback).map_err(|err| err.to_string())?;
    attend(socket, &path, &chosen);
    Ok(())
}

fn field(headers: &HeaderMap) -> String {
    let value = headers.get(PROTOCOLS).and_then(|v| v.to_str().ok());
    value.unwrap_or("").to_string()
}

fn connect(url: &str, subprotocols: &[String]) -> Result<(), Error> {
    let mut request = url.into_client_request()?;
    if !subprotocols.is_empty() {
        let value = HeaderValue::from_str(&subprotocols.join(", "))?;
        request.headers_mut().insert(PROTOCOLS, value);
    }
    let stream = TcpStream::connect(request.uri().authority().ok_or("no host")?.as_str())?;
    let (socket, response) = tungstenite::client(request, stream).map_err(|err| err.to_string())?;
    attend(socket, url, &field(response.headers()));
    Ok(())
}

/// Does what url says with socket, and says how it has ended.
fn attend(mut socket: WebSocket<TcpStream>, url: &str, subprotocol: &str) {
    let mode = url.rsplit('/').next().unwrap_or("");
    let mut told = String::from("1006");
    loop {
        let answered = match socket.read() {
            Ok(Message::Close(frame)) => {
                told = frame.map_or("1005".into(), |f| format!("{} {}", u16::from(f.code), f.reason));
                Ok(()) // the next read ends the closing handshake
            }
            Ok(message) => answer(&mut socket, mode, subprotocol, message),
            Err(err) => Err(err.into()),
        };
        if let Err(err) = answered {
            eprintln!("{}", err);
            break;
        }
    }
    println!("{}", format!("closed {}", told).trim());
}

fn answer(socket: &mut WebSocket<TcpStream>, mode: &str, subprotocol: &str, message: Message) -> Result<(), Error> {
    if let Message::Pong(payload) = &message {
        let text = String::from_utf8(payload.to_vec())?;
        return Ok(socket.send(Message::text(format!("pong {}", text)))?);
    }
    if !message.is_text() && !message.is_binary() {
        return Ok(());
    }
    match mode {
        "echo" => socket.send(message)?,
        "fragments" => fragments(socket, message)?,
        "ping" => socket.send(Message::Ping(message.into_data()))?,
        "subprotocol" => socket.send(Message::text(subprotocol))?,
        "close" => {
            let text = message.into_text()?;
            let (code, reason) = text.split_once(' ').ok_or("no reason")?;
            let code = code.parse::<u16>()?.into();
            socket.close(Some(CloseFrame { code, reason: reason.into() }))?;
        }
        "cut" => socket.get_ref().shutdown(Shutdown::Both)?,
        _ => return Err(format!("unknown mode {}", mode).into()),
    }
    Ok(())
}

fn fragments(socket: &mut WebSocket<TcpStream>, message: Message) -> Result<(), Error> {
    let first = if message.is_text() { Data::Text } else { Data::Binary };
    let data = message.into_data();
    let third = data.len() / 3;
    for (i, range) in [0..third, third..2 * third, 2 * third..data.len()].into_iter().enumerate() {
        let opcode = OpCode::Data(if i == 0 { first } else { Data::Continue });
        let header = FrameHeader { is_final: i == 2, opcode, ..FrameHeader::default() };
        socket.send(Message::Frame(Frame::from_payload(header, data.slice(range))))?;
    }
    Ok(())
}
