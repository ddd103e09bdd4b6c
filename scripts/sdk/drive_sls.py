"""The vendor's Python SDK of SLS against the offline SLS: every operation and error, and logs
that our client and theirs put and read in one log store. Called by sls.sh, with the folder of
the examples and the version of the signature."""

import os
import subprocess
import sys
import time

# Clients of SLS find a project by its name in the host: the server plays their proxy.
for name in ["HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"]:
    os.environ.pop(name, None)

from aliyun.log import (
    GetHistogramsRequest,
    GetLogsRequest,
    IndexConfig,
    IndexKeyConfig,
    IndexLineConfig,
    LogClient,
    LogException,
    LogItem,
    PutLogsRequest,
)

PROJECT, STORE = "sdk-python", "grabs"
BETWEEN = [",", " ", "'", '"', ";", "=", "(", ")", "[", "]", "{", "}", "?", "@", "&", "<", ">", "/", ":"]
NOW = int(time.time())


def refused(code, call, *arguments, status=400):
    """Asserts that the service refuses a call with this code and status."""
    try:
        call(*arguments)
    except LogException as error:
        told = (error.get_error_code(), error.get_resp_status())
        assert told == (code, status), f"{told} instead of {code}: {error}"
        return
    raise AssertionError(f"{code} was expected")


def control(client):
    refused("ProjectNotExist", client.get_project, PROJECT, status=404)
    client.create_project(PROJECT, "a test")
    refused("ProjectAlreadyExist", client.create_project, PROJECT, "again")
    assert client.get_project(PROJECT).get_description() == "a test"
    names = [one["projectName"] for one in client.list_project(size=-1).get_projects()]
    assert names == [PROJECT], names
    refused("LogStoreNotExist", client.get_logstore, PROJECT, STORE, status=404)
    client.create_logstore(PROJECT, STORE, ttl=7, shard_count=1)
    refused("LogStoreAlreadyExist", client.create_logstore, PROJECT, STORE, 7, 1)
    client.update_logstore(PROJECT, STORE, ttl=9, shard_count=1)
    assert client.get_logstore(PROJECT, STORE).get_ttl() == 9
    assert client.list_logstore(PROJECT).get_logstores() == [STORE]
    assert client.list_shards(PROJECT, STORE).get_shards_info()[0]["status"] == "readwrite"
    refused("IndexConfigNotExist", client.get_index_config, PROJECT, STORE)
    text = IndexKeyConfig(BETWEEN, False, index_type="text", doc_value=True)
    number = IndexKeyConfig(index_type="long", doc_value=True)
    keys = {"client": text, "uri": text, "n": number}
    index = IndexConfig(line_config=IndexLineConfig(BETWEEN, False), key_config_list=keys)
    client.create_index(PROJECT, STORE, index)
    refused("IndexAlreadyExist", client.create_index, PROJECT, STORE, index)
    client.update_index(PROJECT, STORE, index)
    told = client.get_index_config(PROJECT, STORE).get_index_config().to_json()
    assert told["keys"]["n"]["type"] == "long", told


def put(client, store=STORE, topic="", first=0, many=10, at=NOW, **further):
    def item(n):
        return LogItem(at - 5, contents=[("client", "theirs"), ("uri", f"/grab/{n} 中"), ("n", str(n))])

    items = [item(n) for n in range(first, first + many)]
    client.put_logs(PutLogsRequest(PROJECT, store, topic, "10.0.0.1", items, **further))


def logs_in(client):
    put(client, compress=True, logtags=[("pod", "web-1")])
    put(client, compress=False, first=10, topic="other")
    put(client, hashKey="0" * 31 + "1", first=20)
    refused("ParameterInvalid", lambda: put(client, hashKey="nonsense"))
    refused("LogStoreNotExist", lambda: put(client, store="absent"), status=404)
    refused("PostBodyInvalid", lambda: put(client, at=NOW - 8 * 86400))
    refused("PostBodyInvalid", lambda: put(client, at=NOW + 3600))


def asked(client, query, **further):
    found = client.get_logs(GetLogsRequest(PROJECT, STORE, NOW - 60, NOW + 60, query=query, **further))
    assert found.is_completed()
    return [log.get_contents() for log in found.get_logs()]


def logs_out(client):
    for search, many in [
        ("*", 30),
        ("n: 7", 1),
        ("n >= 5 and n < 8", 3),
        ("n in [5 8)", 3),
        ("uri: grab and not n > 3", 4),
        ("中", 30),
        ("gra*", 30),
        ('"/grab/7"', 1),
        ("__topic__: other", 10),
        ("__tag__:pod: web-1", 10),
        ("n: 1 or n: 2 or n: 99", 2),
    ]:
        found = asked(client, search)
        assert len(found) == many, (search, len(found))
    assert len(asked(client, "*", topic="other")) == 10
    page = asked(client, "*", line=2, offset=1, reverse=True)
    assert [one["n"] for one in page] == ["28", "27"], page
    old = client.get_log(PROJECT, STORE, NOW - 60, NOW + 60, query="n < 3", size=2)
    assert old.get_count() == 2
    statement = "n < 20 | select __topic__ as t, count(*) as c, sum(n) as s group by t order by c, s limit 10"
    rows = asked(client, statement)
    assert [(one["t"], one["c"], one["s"]) for one in rows] == [("", "10", "45"), ("other", "10", "145")], rows
    minutes = "* | select __time__ - __time__ % 60 as minute, approx_percentile(n, 0.5) as half group by minute"
    assert sum(1 for _ in asked(client, minutes)) == 1
    request = GetHistogramsRequest(PROJECT, STORE, NOW - 3600, NOW + 60, query="n < 20")
    parts = client.get_histograms(request)
    assert sum(part.get_count() for part in parts.get_histograms()) == 20
    assert parts.get_total_count() == 20
    for query in ["((", "absent: 1", "uri > 3", "* | selec", "* | select absent"]:
        refused("ParameterInvalid", asked, client, query)
    turned = GetLogsRequest(PROJECT, STORE, NOW, NOW - 1, query="*")
    refused("InvalidTimeRange", client.get_logs, turned)


def beside_ours(client, ours, url):
    told = subprocess.run([ours, url, PROJECT, STORE], check=True, capture_output=True, text=True)
    assert told.stdout.split("\n")[:2] == ["ours 1", "theirs 30"], told.stdout
    found = asked(client, "client: ours")
    assert len(found) == 1 and found[0]["n"] == "1", found


def main():
    examples, version = sys.argv[1:]
    server = subprocess.Popen(
        [f"{examples}/offline_sls"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        url = server.stdout.readline().strip()
        os.environ["http_proxy"] = url
        signed = {"auth_version": version, "region": "cn-hangzhou"}
        client = LogClient("sls.local", "testid", "testsecret", **signed)
        control(client)
        logs_in(client)
        logs_out(client)
        beside_ours(client, f"{examples}/sls_client", url)
        stranger = LogClient("sls.local", "testid", "guess", **signed)
        refused("SignatureNotMatch", stranger.get_project, PROJECT, status=401)
        nobody = LogClient("sls.local", "nobody", "guess", **signed)
        refused("Unauthorized", nobody.get_project, PROJECT, status=401)
        client.delete_index(PROJECT, STORE)
        client.delete_logstore(PROJECT, STORE)
        client.delete_project(PROJECT)
        refused("ProjectNotExist", client.list_logstore, PROJECT, status=404)
    finally:
        server.stdin.close()
        server.wait(timeout=10)
    print(f"the vendor's Python SDK of SLS is content with {version}")


main()
