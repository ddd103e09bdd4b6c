"""The vendor's Python SDK of MNS against the offline MNS: every operation, errors and failures
in part; and beside our own client on one queue. Called by mns.sh, with the paths of the server and
of our client."""

import subprocess
import sys
import time

from mns.account import Account
from mns.message_property import MessagePropertyValue, PropertyType
from mns.mns_exception import MNSExceptionBase, MNSServerException
from mns.queue import Message, QueueMeta


def refused(code, call, *arguments):
    """Asserts that the service refuses a call with this code; gives the error."""
    try:
        call(*arguments)
    except MNSExceptionBase as error:
        assert error.type == code, f"{error.type} instead of {code}: {error.message}"
        return error
    raise AssertionError(f"{code} was expected")


def queues(account):
    queue = account.get_queue("sdk-one")
    refused("QueueNotExist", queue.get_attributes)
    meta = QueueMeta(vis_timeout=2, max_msg_size=2048, msg_ttl=3600, delay_sec=0, polling_wait_sec=0)
    url = queue.create(meta)
    assert url.endswith("/queues/sdk-one"), url
    queue.create(meta)
    refused("QueueAlreadyExist", queue.create, QueueMeta(vis_timeout=9))
    changed = QueueMeta()
    changed.set_visibilitytimeout(30)
    queue.set_attributes(changed)
    told = queue.get_attributes()
    assert (told.visibility_timeout, told.maximum_message_size) == (30, 2048), told
    for name in ["sdk-two", "sdk-three"]:
        account.get_queue(name).create(QueueMeta())
    urls, marker = account.list_queue(prefix="sdk-", ret_number=2)[:2]
    assert len(urls) == 2 and marker, (urls, marker)
    urls, marker = account.list_queue(prefix="sdk-", ret_number=2, marker=marker)[:2]
    assert len(urls) == 1 and not marker, (urls, marker)
    refused("InvalidQueueName", account.get_queue("sdk_four").create, QueueMeta())
    return queue


def messages(queue):
    refused("MessageNotExist", queue.peek_message)
    refused("MessageNotExist", queue.receive_message, 1)
    sent = queue.send_message(Message("plain"))
    assert len(sent.message_body_md5) == 32
    late = queue.send_message(Message("late", delay_seconds=60, priority=1))
    assert late.receipt_handle
    with_property = Message("with a property")
    value = MessagePropertyValue(PropertyType.STRING, "<中 & 文>")
    with_property.add_user_property("p", value)
    queue.send_message(with_property)
    many = queue.batch_send_message([Message(f"m{n}", priority=16) for n in range(14)])
    assert len(many) == 14
    assert queue.peek_message().message_id == sent.message_id
    assert len(queue.batch_peek_message(16)) == 16
    attributes = queue.get_attributes()
    counts = (attributes.active_messages, attributes.inactive_messages, attributes.delay_messages)
    assert counts == (16, 0, 1), counts

    got = queue.receive_message(3)
    assert (got.message_body, got.dequeue_count, got.priority) == (b"plain", 1, 8), vars(got)
    changed = queue.change_message_visibility(got.receipt_handle, 60)
    refused("MessageNotExist", queue.delete_message, got.receipt_handle)
    refused("ReceiptHandleError", queue.delete_message, "nonsense")
    queue.delete_message(changed.receipt_handle)
    got = queue.receive_message()
    assert got.get_user_properties()["p"].get_string_value_by_type() == "<中 & 文>"
    queue.delete_message(got.receipt_handle)
    rest = queue.batch_receive_message(16, 1)
    assert [one.message_body for one in rest] == [b"m%d" % n for n in range(14)]
    handles = [one.receipt_handle for one in rest]
    queue.batch_delete_message(handles[:10])
    error = refused("MessageNotExist", queue.batch_delete_message, handles[8:12])
    assert sorted(one["ReceiptHandle"] for one in error.sub_errors) == sorted(handles[8:10])
    queue.batch_delete_message(handles[12:])


def limits(queue):
    refused("InvalidArgument", queue.batch_send_message, [Message("m")] * 17)
    refused("InvalidArgument", queue.send_message, Message("x" * 2000))
    try:
        queue.batch_send_message([Message("fits"), Message("x" * 2000)])
        raise AssertionError("a failure in part was expected")
    except MNSServerException as error:
        assert "MessageId" in error.sub_errors[0], error.sub_errors
        assert error.sub_errors[1]["ErrorCode"] == "InvalidArgument", error.sub_errors
    assert queue.receive_message().message_body == b"fits"
    refused("InvalidArgument", queue.receive_message, 31)


def idles(queue):
    """The SDK keeps its connection, and fails where the server has closed it meanwhile."""
    queue.send_message(Message("before"))
    time.sleep(11)
    queue.send_message(Message("after"))
    for _ in range(2):
        queue.delete_message(queue.receive_message().receipt_handle)


def beside_ours(queue, url):
    """Ours reads what theirs sent and the other way round, through one queue."""
    for body in ["theirs 1", "theirs <2> & 红包"]:
        queue.send_message(Message(body))
    queue.batch_send_message([Message("theirs 3"), Message("theirs 4")])
    ours = subprocess.run([sys.argv[2], url, "sdk-one"], check=True, capture_output=True, text=True)
    assert sorted(ours.stdout.splitlines()) == ["theirs 1", "theirs 3", "theirs 4", "theirs <2> & 红包"]
    got = queue.batch_receive_message(16, 1)
    assert sorted(one.message_body for one in got) == [b"ours 1", b"ours 2"], got
    queue.batch_delete_message([one.receipt_handle for one in got])
    refused("MessageNotExist", queue.receive_message)


def main():
    server = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip()
        account = Account(url, "testid", "testsecret")
        queue = queues(account)
        messages(queue)
        limits(queue)
        queue.delete()
        queue.create(QueueMeta())
        idles(queue)
        queue.delete()
        queue.create(QueueMeta())
        beside_ours(queue, url)
        stranger = Account(url, "testid", "guess").get_queue("sdk-one")
        refused("SignatureDoesNotMatch", stranger.get_attributes)
        nobody = Account(url, "nobody", "guess").get_queue("sdk-one")
        refused("InvalidAccessKeyId", nobody.get_attributes)
        queue.delete()
        queue.delete()
        refused("QueueNotExist", queue.send_message, Message("m"))
    finally:
        server.stdin.close()
        server.wait(timeout=10)
    print("the vendor's Python SDK of MNS is content")


main()
