//! The built files of one page, ready to be sent: types, tags, caching and compression.

use std::{
    borrow::Cow,
    collections::HashMap,
    io::Write as _,
    sync::{Arc, OnceLock},
};

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rust_embed::{EmbeddedFile, RustEmbed};

/// What is too small to gain from compression, in bytes.
const COMPRESS_FROM_BYTES: usize = 512;
/// A file whose name holds a digest of its content never changes.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Everything else is asked for again, and answered with 304 while it is the same.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
    <title>Hongbao</title><h1>The pages are not in this binary</h1>\
    <p>Run <code>make web</code>, build again, and restart.</p></html>\n";

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
struct Dist;

/// The files of one page by path, `index.html` among them.
pub struct Pages {
    files: HashMap<String, File>,
}

/// One file and how it is sent.
pub(super) struct File {
    content: Bytes,
    content_type: HeaderValue,
    tag: HeaderValue,
    caching: HeaderValue,
    /// Compressed when first asked for; `None`: it gains nothing.
    gzip: OnceLock<Option<Bytes>>,
}

impl Pages {
    /// The participants' page.
    #[must_use]
    pub fn webpage() -> Arc<Self> {
        Self::embedded("webpage/")
    }

    /// The organiser's page.
    #[must_use]
    pub fn monitor() -> Arc<Self> {
        Self::embedded("monitor/")
    }

    fn embedded(folder: &str) -> Arc<Self> {
        Self::of(Dist::iter().filter_map(|path| {
            let name = path.strip_prefix(folder)?.to_owned();
            let EmbeddedFile { data, metadata } = Dist::get(&path)?;
            let content = match data {
                Cow::Borrowed(content) => Bytes::from_static(content),
                Cow::Owned(content) => Bytes::from(content),
            };
            let mime = metadata.mimetype();
            let file = File::new(&name, content, mime, &metadata.sha256_hash());
            Some((name, file))
        }))
    }

    pub(super) fn of(files: impl IntoIterator<Item = (String, File)>) -> Arc<Self> {
        Arc::new(Self {
            files: files.into_iter().collect(),
        })
    }

    /// Whether the pages were built into this binary.
    #[must_use]
    pub fn are_built(&self) -> bool {
        self.files.contains_key("index.html")
    }

    /// The page itself, or 503 where it was not built.
    pub(super) fn page(&self, request: &HeaderMap) -> Response {
        if let Some(index) = self.files.get("index.html") {
            return index.answer(request);
        }
        let html = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
        ];
        (StatusCode::SERVICE_UNAVAILABLE, html, NOT_BUILT).into_response()
    }

    /// The file of this name under `static/`; `None`: there is none.
    pub(super) fn file(&self, name: &str, request: &HeaderMap) -> Option<Response> {
        let file = self.files.get(&format!("static/{name}"))?;
        Some(file.answer(request))
    }
}

impl File {
    /// `content` under `name`, of this media type and with this SHA-256.
    pub(super) fn new(name: &str, content: Bytes, mime: &str, digest: &[u8; 32]) -> Self {
        let content_type = if mime.starts_with("text/") {
            format!("{mime}; charset=utf-8")
        } else {
            mime.to_owned()
        };
        let tag = format!("W/\"{}\"", hex::encode(&digest[..12]));
        Self {
            content,
            content_type: HeaderValue::try_from(content_type)
                .unwrap_or(HeaderValue::from_static("application/octet-stream")),
            tag: HeaderValue::try_from(tag).expect("hexadecimal digits and quotes are a header"),
            caching: if names_its_content(name) {
                FOR_EVER
            } else {
                ASK_AGAIN
            },
            gzip: OnceLock::new(),
        }
    }

    fn answer(&self, request: &HeaderMap) -> Response {
        let mut response = if is_known(request, &self.tag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else if let Some(gzip) = self.gzip().filter(|_| takes_gzip(request)) {
            ([(header::CONTENT_ENCODING, "gzip")], gzip.clone()).into_response()
        } else {
            self.content.clone().into_response()
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.content_type.clone());
        headers.insert(header::ETAG, self.tag.clone());
        headers.insert(header::CACHE_CONTROL, self.caching.clone());
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        response
    }

    fn gzip(&self) -> Option<&Bytes> {
        let compress = || {
            if self.content.len() < COMPRESS_FROM_BYTES {
                return None;
            }
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(&self.content).ok()?;
            let compressed = encoder.finish().ok()?;
            (compressed.len() < self.content.len()).then(|| compressed.into())
        };
        self.gzip.get_or_init(compress).as_ref()
    }
}

/// Whether a name ends in the 8 digits of a content digest that the build puts there, such as
/// `index-D-3HPl0f.js`.
fn names_its_content(name: &str) -> bool {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let Some(before) = stem.len().checked_sub(9) else {
        return false;
    };
    let (bytes, is_digit) = (stem.as_bytes(), |b: &u8| {
        b.is_ascii_alphanumeric() || *b == b'-' || *b == b'_'
    });
    name.starts_with("static/") && bytes[before] == b'-' && bytes[before + 1..].iter().all(is_digit)
}

fn is_known(request: &HeaderMap, tag: &HeaderValue) -> bool {
    let known = request.get_all(header::IF_NONE_MATCH).iter();
    let mut tags = known
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    tags.any(|one| one.trim() == "*" || one.trim().as_bytes() == tag.as_bytes())
}

fn takes_gzip(request: &HeaderMap) -> bool {
    let lines = request.get_all(header::ACCEPT_ENCODING).iter();
    let mut codings = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
        let refused = weight.parse::<f32>().is_ok_and(|q| q <= 0.0);
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}
