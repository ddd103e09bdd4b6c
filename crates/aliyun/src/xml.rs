//! XML as MNS writes it: elements with either text or elements inside. Attributes, comments and
//! namespaces are passed over.
//!
//! Bounded: what nests deeper or has more elements than any message of the protocol is refused.

use quick_xml::{
    Reader,
    escape::{escape, resolve_xml_entity},
    events::Event,
};
use serde::{Deserialize, Serialize};

/// How deep elements may nest.
const DEPTH_MAX: usize = 8;
/// How many elements there may be.
const ELEMENTS_MAX: usize = 100_000;

/// What was received is no XML of this kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed XML: {0}")]
pub struct XmlError(String);

/// An element.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Element {
    /// Its name, less the prefix of its namespace.
    pub name: String,
    /// Its text, unescaped; empty where it has elements.
    pub text: String,
    /// The elements inside, in order.
    pub children: Vec<Element>,
}

impl Element {
    /// An element with text.
    #[must_use]
    pub fn leaf(name: &str, text: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            text: text.into(),
            children: Vec::new(),
        }
    }

    /// An element with elements.
    #[must_use]
    pub fn node(name: &str, children: Vec<Element>) -> Self {
        Self {
            name: name.to_owned(),
            text: String::new(),
            children,
        }
    }

    /// The first element of this name inside.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first element of this name inside.
    #[must_use]
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }

    /// The document whose root this is.
    #[must_use]
    pub fn document(&self, namespace: &str) -> String {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let attribute = format!(" xmlns=\"{}\"", escape(namespace));
        self.write(&mut out, &attribute);
        out
    }

    fn write(&self, out: &mut String, attribute: &str) {
        let name = &self.name;
        out.extend(["<", name, attribute, ">"]);
        out.push_str(&escape(&self.text));
        for child in &self.children {
            child.write(out, "");
        }
        out.extend(["</", name, ">"]);
    }

    /// The root of a document.
    ///
    /// # Errors
    /// When it is not well-formed, nests too deep, has too many elements or none.
    pub fn parse(document: &[u8]) -> Result<Self, XmlError> {
        let text = std::str::from_utf8(document).map_err(|_| wrong("it is not UTF-8"))?;
        let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
        // The elements that are open, the outermost first.
        let mut open: Vec<Element> = Vec::new();
        let mut root: Option<Element> = None;
        let mut elements = 0;
        loop {
            let event = reader.read_event().map_err(|error| wrong(&error))?;
            match event {
                Event::Start(_) | Event::Empty(_) if open.is_empty() && root.is_some() => {
                    return Err(wrong("there are two roots"));
                }
                Event::Start(_) | Event::Empty(_)
                    if open.len() == DEPTH_MAX || elements == ELEMENTS_MAX =>
                {
                    return Err(wrong("it nests too deep or is too long"));
                }
                Event::Start(start) => {
                    elements += 1;
                    open.push(Self::leaf(start.local_name().as_ref(), ""));
                }
                Event::Empty(start) => {
                    elements += 1;
                    let element = Self::leaf(start.local_name().as_ref(), "");
                    close(element, &mut open, &mut root);
                }
                Event::End(_) => {
                    let element = open.pop().ok_or_else(|| wrong("an end without a start"))?;
                    close(element, &mut open, &mut root);
                }
                Event::Text(text) => add(&mut open, &text.xml10_content())?,
                Event::CData(text) => add(&mut open, &text.xml10_content())?,
                Event::GeneralRef(reference) => {
                    let character = reference.resolve_char_ref().map_err(|e| wrong(&e))?;
                    match (character, resolve_xml_entity(&reference)) {
                        (Some(character), _) => add(&mut open, character.encode_utf8(&mut [0; 4]))?,
                        (None, Some(text)) => add(&mut open, text)?,
                        (None, None) => return Err(wrong("an unknown entity")),
                    }
                }
                Event::Eof if open.is_empty() => {
                    return root.ok_or_else(|| wrong("there is no element"));
                }
                Event::Eof => return Err(wrong("it ends too early")),
                Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
                // Nobody has a reason to send one, and they can be made to explode.
                Event::DocType(_) => return Err(wrong("a document type")),
            }
        }
    }
}

fn wrong(what: &(impl std::fmt::Display + ?Sized)) -> XmlError {
    XmlError(what.to_string())
}

/// Adds text to the innermost open element.
fn add(open: &mut [Element], text: &str) -> Result<(), XmlError> {
    if !text.chars().all(is_xml) {
        return Err(wrong("a character that XML does not have"));
    }
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err(wrong("text outside the root")),
    }
    Ok(())
}

/// Whether XML 1.0 has this character (<https://www.w3.org/TR/xml/#charsets>).
const fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Puts a finished element where it belongs.
fn close(mut element: Element, open: &mut [Element], root: &mut Option<Element>) {
    if !element.children.is_empty() {
        // Only the space between elements.
        element.text.clear();
    }
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => *root = Some(element),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_services_and_sdks_send() {
        let document = "\u{feff}<?xml version=\"1.0\"?>\r\n<!-- c --><m:Messages xmlns:m='x'>\n \
            <Message a='1'>\n<Body>&lt;raw &amp; &#20013;&#x6587;&gt;</Body>\n<Empty/>\n</Message>\
            <Message><Body><![CDATA[<b>]]></Body></Message></m:Messages>\n";
        let root = Element::parse(document.as_bytes()).expect("well-formed");
        let message = |children| Element::node("Message", children);
        let expected = Element::node(
            "Messages",
            vec![
                message(vec![
                    Element::leaf("Body", "<raw & 中文>"),
                    Element::leaf("Empty", ""),
                ]),
                message(vec![Element::leaf("Body", "<b>")]),
            ],
        );
        assert_eq!(root, expected);
        assert_eq!(root.children[1].text_of("Body"), Some("<b>"));
        assert_eq!(root.text_of("Body"), None);
    }

    #[test]
    fn refuses_what_is_no_message() {
        let deep = "<a>".repeat(9) + &"</a>".repeat(9);
        let many = format!("<a>{}</a>", "<b/>".repeat(ELEMENTS_MAX + 1));
        let documents = [
            "",
            " ",
            "text",
            "<a>",
            "</a>",
            "<a></b>",
            "<a>&nothing;</a>",
            "<a/><b/>",
            "<a/>text",
            "text<a/>",
            "<a>\u{1}</a>",
            "<a>&#1;</a>",
            "<a>&#xFFFE;</a>",
            "<!DOCTYPE a [<!ENTITY e \"e\">]><a>&e;</a>",
            &deep,
            &many,
        ];
        for document in documents {
            assert!(
                Element::parse(document.as_bytes()).is_err(),
                "{document:.40}"
            );
        }
        assert!(Element::parse(b"<a>\xff</a>").is_err());
    }

    proptest! {
        /// Whatever text is written is read again, and nothing makes the reader panic.
        #[test]
        fn goes_there_and_back(text in "[ -~\r\n\t中<&>\"']{0,40}", noise in ".{0,40}") {
            let root = Element::node("A", vec![Element::leaf("B", text.clone())]);
            let document = root.document("http://example.com/");
            prop_assert_eq!(Element::parse(document.as_bytes()), Ok(root));
            let noisy = document.replacen('B', &noise, 1);
            let _any: Option<Element> = Element::parse(noisy.as_bytes()).ok();
        }
    }
}
