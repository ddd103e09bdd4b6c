//! Every operation on queues and messages of MNS.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use http::Method;
use rules::Clock;

use super::{
    Code,
    call::{Call, Caller, MnsError, OpenError, Patience, Reply},
    model::{
        BATCH_BYTES_MAX, BATCH_MAX, Changed, Message, NewMessage, PartError, QueueAttributes,
        QueueInfo, QueuePage, Sent, WAIT_SECONDS_MAX,
    },
    wire,
};
use crate::sign::Credentials;

/// The result of a call.
type Result<T, E = MnsError> = std::result::Result<T, E>;

/// A client of one MNS endpoint. Calls fail until the endpoint is there.
pub struct Client {
    caller: Caller,
}

/// What making a queue came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is new.
    New,
    /// It was there, with the very same attributes.
    Same,
    /// It was there, with other attributes, and was left as it is.
    Other,
}

impl Client {
    /// A client of the endpoint, `https://<account>.mns.<region>.aliyuncs.com` or, offline,
    /// `http://127.0.0.1:<port>`. To be called within a tokio runtime.
    ///
    /// # Errors
    /// When the endpoint is of another form, or TLS cannot be set up.
    pub fn open(
        endpoint: &str,
        credentials: Credentials,
        clock: Arc<dyn Clock>,
        patience: Patience,
    ) -> Result<Self, OpenError> {
        let caller = Caller::new(endpoint, credentials, clock, patience)?;
        Ok(Self { caller })
    }

    /// Makes a queue, if there is none of this name.
    ///
    /// # Errors
    /// When the name or an attribute is refused, or the call fails.
    pub async fn create_queue(&self, queue: &str, with: &QueueAttributes) -> Result<Created> {
        with.check()?;
        let mut call = Call::new("CreateQueue", Method::PUT, path(queue));
        call.body = wire::attributes_request(with);
        match self.caller.call(call).await {
            Ok(Reply { status: 201, .. }) => Ok(Created::New),
            Ok(_) => Ok(Created::Same),
            Err(error) if error.is(&Code::QueueAlreadyExist) => Ok(Created::Other),
            Err(error) => Err(error),
        }
    }

    /// Sets the attributes that are given.
    ///
    /// # Errors
    /// When there is no such queue, an attribute is refused, or the call fails.
    pub async fn set_attributes(&self, queue: &str, to: &QueueAttributes) -> Result<()> {
        to.check()?;
        let target = path(queue) + "?metaoverride=true";
        let mut call = Call::new("SetQueueAttributes", Method::PUT, target);
        call.body = wire::attributes_request(to);
        self.caller.call(call).await.map(drop)
    }

    /// A queue as it is; `None` when there is none of this name.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn attributes(&self, queue: &str) -> Result<Option<QueueInfo>> {
        let call = Call::new("GetQueueAttributes", Method::GET, path(queue));
        match self.caller.call(call).await {
            Ok(reply) => Ok(Some(wire::queue_info(&reply.body)?)),
            Err(error) if error.is(&Code::QueueNotExist) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes a queue and its messages. One that is not there is removed already.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn delete_queue(&self, queue: &str) -> Result<()> {
        let call = Call::new("DeleteQueue", Method::DELETE, path(queue));
        match self.caller.call(call).await {
            Err(error) if !error.is(&Code::QueueNotExist) => Err(error),
            _ => Ok(()),
        }
    }

    /// One page of at most `number` (1 to 1000) queues whose names begin with `prefix`, from
    /// `marker` on.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn list_queues(
        &self,
        prefix: &str,
        marker: Option<&str>,
        number: u32,
    ) -> Result<QueuePage> {
        let number = number.to_string();
        let mut call = Call::new("ListQueue", Method::GET, "/queues".into());
        call.headers.push(("x-mns-ret-number", &number));
        if !prefix.is_empty() {
            call.headers.push(("x-mns-prefix", prefix));
        }
        if let Some(marker) = marker {
            call.headers.push(("x-mns-marker", marker));
        }
        let reply = self.caller.call(call).await?;
        Ok(wire::queue_page(&reply.body)?)
    }

    /// Sends one message.
    ///
    /// # Errors
    /// When there is no such queue, the message is refused, or the call fails.
    pub async fn send(&self, queue: &str, message: &NewMessage) -> Result<Sent> {
        let mut call = Call::new("SendMessage", Method::POST, messages_path(queue));
        call.body = wire::send_request(message);
        let reply = self.caller.call(call).await?;
        let root = wire::root(&reply.body, "Message")?;
        let part = wire::sent(&root)?;
        part.map_err(|error| MnsError::NotSent(error.to_string()))
    }

    /// Sends 1 to 16 messages of at most 64 KB together; what became of each.
    ///
    /// # Errors
    /// When they are too many or too long, there is no such queue, or the call fails as a whole.
    pub async fn send_batch(
        &self,
        queue: &str,
        messages: &[NewMessage],
    ) -> Result<Vec<Result<Sent, PartError>>> {
        check_batch(messages.len())?;
        let bytes: usize = messages.iter().map(NewMessage::text_bytes).sum();
        if bytes > BATCH_BYTES_MAX {
            let limit = format!("{bytes} bytes in a batch of at most {BATCH_BYTES_MAX}");
            return Err(MnsError::NotSent(limit));
        }
        let mut call = Call::new("BatchSendMessage", Method::POST, messages_path(queue));
        call.body = wire::send_batch_request(messages);
        let reply = self.caller.call(call).await?;
        Ok(wire::sent_batch(&reply.body, messages.len())?)
    }

    /// Up to `number` (1 to 16) messages, which become invisible to others for the queue's
    /// visibility timeout. Waits up to `wait` (whole seconds, at most 30) for the first; the
    /// service may answer early when it has too many who wait. Empty when there is none.
    ///
    /// # Errors
    /// When there is no such queue, or the call fails.
    pub async fn receive(
        &self,
        queue: &str,
        number: usize,
        wait: Duration,
    ) -> Result<Vec<Message>> {
        check_batch(number)?;
        let seconds = wait.as_secs().min(u64::from(WAIT_SECONDS_MAX));
        let query = format!("?numOfMessages={number}&waitseconds={seconds}");
        let target = messages_path(queue) + &query;
        let mut call = Call::new("BatchReceiveMessage", Method::GET, target);
        call.waits = Duration::from_secs(seconds);
        self.messages(call).await
    }

    /// Up to `number` (1 to 16) visible messages, which stay visible.
    ///
    /// # Errors
    /// When there is no such queue, or the call fails.
    pub async fn peek(&self, queue: &str, number: usize) -> Result<Vec<Message>> {
        check_batch(number)?;
        let query = format!("?peekonly=true&numOfMessages={number}");
        let target = messages_path(queue) + &query;
        self.messages(Call::new("BatchPeekMessage", Method::GET, target))
            .await
    }

    async fn messages(&self, call: Call<'_>) -> Result<Vec<Message>> {
        match self.caller.call(call).await {
            Ok(reply) => Ok(wire::messages(&reply.body)?),
            Err(error) if error.is(&Code::MessageNotExist) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Deletes the message of one handle.
    ///
    /// # Errors
    /// `MessageNotExist` when the handle is spent or over, `ReceiptHandleError` when it is none,
    /// or the call fails.
    pub async fn delete(&self, queue: &str, handle: &str) -> Result<()> {
        let target = format!("{}?ReceiptHandle={}", messages_path(queue), escape(handle));
        let call = Call::new("DeleteMessage", Method::DELETE, target);
        self.caller.call(call).await.map(drop)
    }

    /// Deletes the messages of 1 to 16 handles; those that could not be, and why.
    ///
    /// # Errors
    /// When they are too many, there is no such queue, or the call fails as a whole.
    pub async fn delete_batch(
        &self,
        queue: &str,
        handles: &[String],
    ) -> Result<Vec<(String, PartError)>> {
        check_batch(handles.len())?;
        let mut call = Call::new("BatchDeleteMessage", Method::DELETE, messages_path(queue));
        call.body = wire::delete_batch_request(handles);
        let reply = self.caller.call(call).await?;
        match reply.status {
            200..400 => Ok(Vec::new()),
            _ => Ok(wire::delete_errors(&reply.body)?),
        }
    }

    /// Makes a received message visible again after `seconds` (0 to 43200) from now.
    ///
    /// # Errors
    /// `MessageNotExist` when the handle is spent or over, or the call fails.
    pub async fn change_visibility(
        &self,
        queue: &str,
        handle: &str,
        seconds: u32,
    ) -> Result<Changed> {
        let (path, handle) = (messages_path(queue), escape(handle));
        let target = format!("{path}?ReceiptHandle={handle}&VisibilityTimeout={seconds}");
        let call = Call::new("ChangeMessageVisibility", Method::PUT, target);
        let reply = self.caller.call(call).await?;
        Ok(wire::changed(&reply.body)?)
    }
}

fn path(queue: &str) -> String {
    format!("/queues/{}", escape(queue))
}

fn messages_path(queue: &str) -> String {
    path(queue) + "/messages"
}

fn check_batch(number: usize) -> Result<()> {
    if (1..=BATCH_MAX).contains(&number) {
        return Ok(());
    }
    let limit = format!("a batch of {number}, where 1 to {BATCH_MAX} is right");
    Err(MnsError::NotSent(limit))
}

/// Escapes what would end a part of the target. Base64 stays as it is, as in the vendor's SDKs.
fn escape(part: &str) -> String {
    let mut escaped = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("a string takes all that is written");
        }
    }
    escaped
}
