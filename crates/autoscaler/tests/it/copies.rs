//! A copy is what its sibling is, less what was given to that one alone.

use autoscaler::copy::{Copy, CopyError, Sibling};
use serde_json::{Value, json};

const VOLUME: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What Docker 20.10 says of a container that Compose v2 has made, shortened where it is dull.
fn inspected() -> Value {
    json!({
        "Id": "aaaaaaaaaaaabbbbbbbbbbbbccccccccccccddddddddddddeeeeeeeeeeeeffff",
        "Name": "/p-red-packet-2",
        "Image": "sha256:77",
        "State": { "Status": "running", "Pid": 77 },
        "Config": {
            "Hostname": "aaaaaaaaaaaa",
            "User": "65532", "Env": ["HONGBAO_LISTEN=0.0.0.0:8080", "PATH=/bin"],
            "Cmd": ["redpacket"], "Entrypoint": ["/hongbao"], "Image": "hongbao:1",
            "Healthcheck": { "Test": ["CMD", "/hongbao", "probe"], "Interval": 1_000_000_000 },
            "StopSignal": "SIGTERM", "StopTimeout": 25, "MacAddress": "02:42:ac:11:00:02",
            "Labels": {
                "com.docker.compose.project": "p",
                "com.docker.compose.service": "red-packet",
                "com.docker.compose.container-number": "2",
                "com.docker.compose.replace": "old",
                "com.docker.compose.config-hash": "h",
            },
            "SomethingNew": { "of": ["a", "later", "Docker"] },
        },
        "HostConfig": {
            "Binds": ["/etc/x:/x:ro", "named:/data:rw", format!("{VOLUME}:/cache:rw")],
            "Mounts": [
                { "Type": "volume", "Source": VOLUME, "Target": "/tmp2" },
                { "Type": "bind", "Source": "/a", "Target": "/b" },
            ],
            "NetworkMode": "p_inner", "NanoCpus": 500_000_000, "Memory": 268_435_456,
            "RestartPolicy": { "Name": "always" }, "ReadonlyRootfs": true, "CapDrop": ["ALL"],
            "PortBindings": { "8080/tcp": [{ "HostIp": "", "HostPort": "" }] },
            "ContainerIDFile": "/run/id", "SomethingNew": true,
        },
        "NetworkSettings": { "Networks": {
            "a_public": {
                "NetworkID": "n1", "EndpointID": "e1", "IPAddress": "172.18.0.4",
                "MacAddress": "02:42:ac:12:00:04", "IPAMConfig": { "IPv4Address": "172.18.0.4" },
                "Aliases": ["p-red-packet-2", "red-packet", "aaaaaaaaaaaa"],
            },
            "p_inner": {
                "NetworkID": "n2", "IPAMConfig": null,
                "Aliases": ["redpacket.local", "red-packet", "aaaaaaaaaaaa"],
            },
        }},
    })
}

fn copy(inspected: &Value, image: &str) -> Copy {
    let sibling = Sibling::new(inspected.clone());
    sibling.copy(5, image).unwrap()
}

#[test]
fn everything_goes_over_but_what_is_the_sibling_s_own() {
    let before = inspected();
    let Copy {
        name,
        mut body,
        more_networks,
    } = copy(&before, "hongbao:1");
    assert_eq!(name, "p-red-packet-5");
    assert_eq!(
        body["NetworkingConfig"],
        json!({ "EndpointsConfig": { "p_inner": { "Aliases": ["redpacket.local", "red-packet"] } } })
    );
    let public = json!({ "IPAMConfig": {}, "Aliases": ["p-red-packet-5", "red-packet"] });
    assert_eq!(more_networks, [("n1".to_owned(), public)]);

    // What is left over is as it was.
    let mut config = before["Config"].clone();
    let mut host = before["HostConfig"].clone();
    for own in ["Hostname", "MacAddress"] {
        config.as_object_mut().unwrap().remove(own);
    }
    let labels = config["Labels"].as_object_mut().unwrap();
    labels.remove("com.docker.compose.replace");
    labels["com.docker.compose.container-number"] = "5".into();
    labels.insert("hongbao.made-by".into(), "autoscale".into());
    config["Volumes"] = json!({ "/cache": {} });
    host.as_object_mut().unwrap().remove("ContainerIDFile");
    host["Binds"].as_array_mut().unwrap().pop();
    host["Mounts"][0].as_object_mut().unwrap().remove("Source");
    let body = body.as_object_mut().unwrap();
    body.remove("NetworkingConfig");
    assert_eq!(body.remove("HostConfig"), Some(host));
    assert_eq!(Value::Object(body.clone()), config);
}

#[test]
fn names_follow_the_generation_of_compose() {
    let mut old = inspected();
    old["Name"] = "/p_red-packet_2".into();
    assert_eq!(copy(&old, "i").name, "p_red-packet_5");
    // While Compose replaces a container the new one's name has the old one's id in front.
    old["Name"] = "/0123456789ab_p_red-packet_2".into();
    assert_eq!(copy(&old, "i").name, "p_red-packet_5");
    old["Name"] = "/mine".into();
    let refused = Sibling::new(old).copy(5, "i");
    assert_eq!(refused, Err(CopyError::OwnName("mine".into())));
}

#[test]
fn a_chosen_host_name_and_a_cleared_entrypoint_stay() {
    let mut told = inspected();
    told["Config"]["Hostname"] = "chosen".into();
    told["Config"]["Entrypoint"] = Value::Null;
    let body = copy(&told, "sha256:77").body;
    assert_eq!(body["Hostname"], "chosen");
    assert_eq!(body["Entrypoint"], json!([]));
    assert_eq!(body["Image"], "sha256:77");
}

#[test]
fn one_port_of_the_host_is_one_container_s_and_a_range_is_not() {
    let mut told = inspected();
    let port = |port: &str| json!({ "80/tcp": [{ "HostIp": "", "HostPort": port }] });
    told["HostConfig"]["PortBindings"] = port("8080");
    let refused = Sibling::new(told.clone()).copy(5, "i");
    assert_eq!(refused, Err(CopyError::HostPort("8080".into())));
    for free in ["", "0", "8080-8089"] {
        told["HostConfig"]["PortBindings"] = port(free);
        assert!(Sibling::new(told.clone()).copy(5, "i").is_ok(), "{free}");
    }
}

#[test]
fn without_a_network_of_its_own_none_is_asked_for() {
    let mut told = inspected();
    told["HostConfig"]["NetworkMode"] = "container:abc".into();
    told["NetworkSettings"]["Networks"] = json!({});
    let copy = copy(&told, "i");
    assert_eq!(copy.body["NetworkingConfig"], Value::Null);
    assert_eq!(copy.more_networks, []);
}

#[test]
fn limits_of_cpu_are_read_however_they_are_told() {
    for (told, cpus) in [
        (json!({ "NanoCpus": 250_000_000 }), 0.25),
        (json!({ "CpuQuota": 150_000, "CpuPeriod": 50_000 }), 3.0),
        (json!({ "CpuQuota": 50_000, "CpuPeriod": 0 }), 0.5),
        (json!({ "CpusetCpus": "0-2,5" }), 4.0),
        (
            json!({ "CpusetCpus": "", "NanoCpus": 0, "CpuQuota": 0 }),
            1.0,
        ),
        (json!({ "CpusetCpus": "odd" }), 1.0),
    ] {
        let sibling = Sibling::new(json!({ "HostConfig": told }));
        assert!((sibling.cpus() - cpus).abs() < 1e-9, "{told}");
    }
}
