//! A server for the tests of the commands: it answers from a list and remembers what it was
//! asked.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What a request was.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Method and target, such as `GET /path?query`.
    pub(crate) line: String,
    /// The header lines, names in lower case.
    pub(crate) headers: Vec<String>,
    pub(crate) body: String,
}

/// How the next request is answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// With this status and body.
    Body(u16, String),
    /// Not at all: the connection is closed.
    Close,
    /// With the beginning of a body that never goes on.
    Torn(String),
}

/// The server; it stops when dropped.
pub(crate) struct Fake {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    serving: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Fake {
    /// A server that gives these replies in this order and closes the connection when there are
    /// none left.
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let mut replies: VecDeque<_> = replies.into_iter().collect();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let reply = replies.pop_front().unwrap_or(Reply::Close);
                let mut stream = BufReader::new(stream);
                let request = read(&mut stream).await.unwrap();
                // Noted before it is answered, so that who has the answer can look it up.
                seen.lock().unwrap().push(request);
                answer(stream, reply).await.unwrap();
            }
        });
        Self {
            url,
            asked,
            serving,
        }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// Reads one request.
async fn read(stream: &mut BufReader<TcpStream>) -> std::io::Result<Asked> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let line = head.remove(0).replace(" HTTP/1.1", "");
    let headers: Vec<_> = head
        .iter()
        .map(|header| {
            let (name, value) = header.split_once(':').unwrap();
            format!("{}:{value}", name.to_ascii_lowercase())
        })
        .collect();
    let length = headers
        .iter()
        .find_map(|header| header.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await?;
    Ok(Asked {
        line,
        headers,
        body: String::from_utf8(body).unwrap(),
    })
}

/// Answers, and closes the connection.
async fn answer(mut stream: BufReader<TcpStream>, reply: Reply) -> std::io::Result<()> {
    let text = match reply {
        Reply::Close => String::new(),
        Reply::Body(status, body) => format!(
            "HTTP/1.1 {status} Status\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        ),
        Reply::Torn(body) => {
            format!("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n{body}")
        }
    };
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}
