//! A container made from its sibling. Pure: from what Docker says of one to what it is asked for
//! the other.
//!
//! What Docker gave the sibling itself (its host name, its addresses, its anonymous volumes) is
//! left to Docker again; everything else, whatever it is, goes over as it stands. That is why
//! this works on JSON and not on types: a setting that we do not know must not get lost.

use serde_json::{Map, Value, json};

use crate::fleet::{MADE_BY, MADE_BY_US, NUMBER, PROJECT, SERVICE};

/// Docker's short form of an id.
const SHORT_ID: usize = 12;
/// How long the name of a volume is that nobody named.
const ANONYMOUS_NAME: usize = 64;
/// What is true of the sibling's own making only.
const OF_ITS_MAKING: &str = "com.docker.compose.replace";
/// What Docker gives a container in a network, and takes back with it.
const OF_ONE_ENDPOINT: [&str; 3] = ["IPAMConfig", "Links", "DriverOpts"];

/// Why a sibling cannot be copied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    /// What Docker says of it lacks something.
    #[error("what Docker says of the container has no {0}")]
    Lacks(&'static str),
    /// Its name was chosen, so that there can be only one of it.
    #[error(
        "the container is named {0}, not by its service and number: without `container_name` it can be scaled"
    )]
    OwnName(String),
    /// It publishes a port of the host, which only one container can have.
    #[error(
        "the service publishes port {0} of the host, which only one container can have: without it, it can be scaled"
    )]
    HostPort(String),
}

/// What to ask Docker for.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    /// The new container's name.
    pub name: String,
    /// The body of the call that makes it.
    pub body: Value,
    /// Networks to connect it to before it is started: id, and the body's `EndpointConfig`. Before
    /// version 1.44 of the API a container is made in one network only.
    pub more_networks: Vec<(String, Value)>,
}

/// What Docker says of a container.
#[derive(Clone, Debug)]
pub struct Sibling(Value);

impl Sibling {
    /// From Docker's answer to an inspection.
    #[must_use]
    pub const fn new(inspected: Value) -> Self {
        Self(inspected)
    }

    /// The image that it was made from, as its template names it.
    #[must_use]
    pub fn image_name(&self) -> &str {
        self.text("/Config/Image")
    }

    /// The id of that image.
    #[must_use]
    pub fn image_id(&self) -> &str {
        self.text("/Image")
    }

    /// How many CPUs it may use: its limit, or 1 when it has none.
    #[must_use]
    pub fn cpus(&self) -> f64 {
        let number = |at: &str| self.0.pointer(at).and_then(Value::as_f64).unwrap_or(0.0);
        let nano = number("/HostConfig/NanoCpus");
        let (quota, period) = (
            number("/HostConfig/CpuQuota"),
            number("/HostConfig/CpuPeriod"),
        );
        if nano > 0.0 {
            nano / 1e9
        } else if quota > 0.0 {
            // The kernel's own period, when none is told.
            quota / if period > 0.0 { period } else { 100_000.0 }
        } else {
            let pinned = cpus_in(self.text("/HostConfig/CpusetCpus"));
            pinned.map_or(1.0, f64::from)
        }
    }

    /// How long it may take to stop, when that is told.
    #[must_use]
    pub fn stop_seconds(&self) -> Option<u64> {
        self.0.pointer("/Config/StopTimeout")?.as_u64()
    }

    fn text(&self, at: &str) -> &str {
        self.0.pointer(at).and_then(Value::as_str).unwrap_or("")
    }

    fn object(&self, at: &str, what: &'static str) -> Result<Map<String, Value>, CopyError> {
        let found = self.0.pointer(at).and_then(Value::as_object);
        found.cloned().ok_or(CopyError::Lacks(what))
    }

    /// What to ask for so that instance `number` is made like this one, of the image `image`.
    ///
    /// # Errors
    /// When there can be only one such container, or Docker's answer is not whole.
    pub fn copy(&self, number: u32, image: &str) -> Result<Copy, CopyError> {
        let id = self.text("/Id");
        let short_id = id.get(..SHORT_ID).ok_or(CopyError::Lacks("id"))?;
        let own_name = self.text("/Name").trim_start_matches('/');
        let mut config = self.object("/Config", "Config")?;
        let mut host = self.object("/HostConfig", "HostConfig")?;
        let name = self.name_of(own_name, number)?;
        refuse_host_ports(&host)?;

        if config.get("Hostname").and_then(Value::as_str) == Some(short_id) {
            config.remove("Hostname");
        }
        config.remove("MacAddress");
        config.insert("Image".into(), image.into());
        // Told nothing, Docker would take the image's, which the service may have cleared.
        if config.get("Entrypoint").is_some_and(Value::is_null) {
            config.insert("Entrypoint".into(), json!([]));
        }
        if let Some(labels) = config.get_mut("Labels").and_then(Value::as_object_mut) {
            labels.insert(NUMBER.into(), number.to_string().into());
            labels.insert(MADE_BY.into(), MADE_BY_US.into());
            labels.remove(OF_ITS_MAKING);
        }
        host.remove("ContainerIDFile");
        own_anonymous_volumes(&mut config, &mut host);

        let mut networks = Vec::new();
        let joined = self.object("/NetworkSettings/Networks", "Networks");
        for (network, endpoint) in joined.unwrap_or_default() {
            let id = endpoint["NetworkID"].as_str().filter(|id| !id.is_empty());
            let id = id.unwrap_or(&network).to_owned();
            let endpoint = endpoint_like(&endpoint, short_id, own_name, &name);
            networks.push((network, id, endpoint));
        }
        // The one that it was made in comes first, if it is one of them.
        let mode = host.get("NetworkMode").and_then(Value::as_str);
        networks.sort_by_key(|(network, id, _)| Some(&**network) != mode && Some(&**id) != mode);
        let mut networks = networks.into_iter();
        let mut body = config;
        if let Some((network, _, endpoint)) = networks.next() {
            let first = json!({ "EndpointsConfig": { network: endpoint } });
            body.insert("NetworkingConfig".into(), first);
        }
        body.insert("HostConfig".into(), Value::Object(host));
        Ok(Copy {
            name,
            body: Value::Object(body),
            more_networks: networks.map(|(_, id, endpoint)| (id, endpoint)).collect(),
        })
    }

    /// The name of instance `number`, with the separator that this one has.
    fn name_of(&self, own_name: &str, number: u32) -> Result<String, CopyError> {
        let label = |name: &str| {
            let labels = self.0.pointer("/Config/Labels");
            let label = labels.and_then(|labels| labels.get(name));
            label.and_then(Value::as_str).unwrap_or("")
        };
        let (project, service, own) = (label(PROJECT), label(SERVICE), label(NUMBER));
        for separator in ["-", "_"] {
            let stem = format!("{project}{separator}{service}{separator}");
            // While Compose replaces a container, the new one's name has a prefix.
            if own_name.ends_with(&format!("{stem}{own}")) {
                return Ok(format!("{stem}{number}"));
            }
        }
        Err(CopyError::OwnName(own_name.to_owned()))
    }
}

/// How many CPUs a list such as `0-2,5` names; `None` for an empty one.
fn cpus_in(list: &str) -> Option<u32> {
    let count = |part: &str| -> Option<u32> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    list.split(',').map(count).sum()
}

fn refuse_host_ports(host: &Map<String, Value>) -> Result<(), CopyError> {
    let bindings = host.get("PortBindings").and_then(Value::as_object);
    let ports = bindings.into_iter().flat_map(Map::values);
    for port in ports.filter_map(Value::as_array).flatten() {
        // None or 0: Docker takes any that is free. A range: one that is free of these.
        let port = port["HostPort"].as_str().unwrap_or("");
        if !matches!(port, "" | "0") && !port.contains('-') {
            return Err(CopyError::HostPort(port.to_owned()));
        }
    }
    Ok(())
}

/// An endpoint in the same network under the same names, except those of the sibling itself.
fn endpoint_like(endpoint: &Value, short_id: &str, own_name: &str, name: &str) -> Value {
    let mut like: Map<String, Value> = OF_ONE_ENDPOINT
        .iter()
        .filter_map(|&key| Some((key.to_owned(), endpoint.get(key)?.clone())))
        .filter(|(_, value)| !value.is_null())
        .collect();
    if let Some(addresses) = like.get_mut("IPAMConfig").and_then(Value::as_object_mut) {
        // An address that was asked for is the sibling's.
        addresses.retain(|key, _| key == "LinkLocalIPs");
    }
    let aliases = endpoint["Aliases"].as_array().into_iter().flatten();
    let mut aliases: Vec<_> = aliases
        .filter_map(Value::as_str)
        .filter(|&alias| alias != short_id)
        .map(|alias| if alias == own_name { name } else { alias })
        .collect();
    aliases.dedup();
    like.insert("Aliases".into(), json!(aliases));
    Value::Object(like)
}

/// Volumes that nobody named are one container's own. When Compose replaces a container it hands
/// them on by name; a further container gets fresh ones.
fn own_anonymous_volumes(config: &mut Map<String, Value>, host: &mut Map<String, Value>) {
    let mut fresh = Vec::new();
    if let Some(binds) = host.get_mut("Binds").and_then(Value::as_array_mut) {
        binds.retain(|bind| {
            let mut parts = bind.as_str().unwrap_or("").split(':');
            let source = parts.next().unwrap_or("");
            if is_anonymous(source)
                && let Some(at) = parts.next()
            {
                fresh.push(at.to_owned());
                return false;
            }
            true
        });
    }
    let mounts = host.get_mut("Mounts").and_then(Value::as_array_mut);
    for mount in mounts.into_iter().flatten() {
        if mount["Type"] == "volume"
            && is_anonymous(mount["Source"].as_str().unwrap_or(""))
            && let Some(mount) = mount.as_object_mut()
        {
            mount.remove("Source");
        }
    }
    if fresh.is_empty() {
        return;
    }
    let volumes = config.entry("Volumes").or_insert(Value::Null);
    if !volumes.is_object() {
        *volumes = json!({});
    }
    for at in fresh {
        volumes[at] = json!({});
    }
}

fn is_anonymous(volume: &str) -> bool {
    volume.len() == ANONYMOUS_NAME && volume.bytes().all(|byte| byte.is_ascii_hexdigit())
}
