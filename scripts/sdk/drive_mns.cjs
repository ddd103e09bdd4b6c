// The vendor's Node SDK of MNS against the offline MNS: every operation, errors and failures in
// part; and beside our own client on one queue. Called by mns.sh, with the paths of the server and
// of our client, and the folder of the SDK.
const assert = require('node:assert');
const { execFileSync, spawn } = require('node:child_process');
const { once } = require('node:events');
const { createRequire } = require('node:module');

const [server, client, sdk] = process.argv.slice(2);
const MNS = createRequire(`${sdk}/`)('@alicloud/mns');

const base64 = (text) => Buffer.from(text).toString('base64');
const refused = (code, call) => assert.rejects(call, (error) => {
  assert.strictEqual(error.name, `MNS${code}Error`, error.message);
  return true;
});

async function queues(mns) {
  const made = await mns.createQueue('node-one', { VisibilityTimeout: 20 });
  assert.strictEqual(made.code, 201);
  assert.match(made.headers.location, /\/queues\/node-one$/);
  assert.strictEqual((await mns.createQueue('node-one', { VisibilityTimeout: 20 })).code, 204);
  await refused('QueueAlreadyExist', mns.createQueue('node-one', { VisibilityTimeout: 21 }));
  await mns.createQueue('node-two');
  const set = await mns.setQueueAttributes('node-one', { MaximumMessageSize: 1024 });
  assert.strictEqual(set.code, 204);
  const { body } = await mns.getQueueAttributes('node-one');
  assert.strictEqual(body.MaximumMessageSize, '1024');
  assert.strictEqual(body.VisibilityTimeout, '20');
  const listed = await mns.listQueue('', 10, 'node-');
  assert.strictEqual(listed.body.length, 2);
  await refused('QueueNotExist', mns.getQueueAttributes('absent'));
}

async function messages(mns) {
  const queue = 'node-one';
  await refused('MessageNotExist', mns.receiveMessage(queue, 1));
  const sent = await mns.sendMessage(queue, { MessageBody: base64('one'), Priority: 1 });
  assert.strictEqual(sent.code, 201);
  const several = ['two', 'three', 'four'].map((text) => ({ MessageBody: base64(text) }));
  assert.strictEqual((await mns.batchSendMessage(queue, several)).body.length, 3);
  assert.strictEqual((await mns.peekMessage(queue)).body.MessageId, sent.body.MessageId);
  assert.strictEqual((await mns.batchPeekMessage(queue, 16)).body.length, 4);
  const { body } = await mns.receiveMessage(queue, 3);
  assert.strictEqual(Buffer.from(body.MessageBody, 'base64').toString(), 'one');
  const changed = await mns.changeMessageVisibility(queue, body.ReceiptHandle, 30);
  await refused('MessageNotExist', mns.deleteMessage(queue, body.ReceiptHandle));
  await refused('ReceiptHandleError', mns.deleteMessage(queue, 'nonsense'));
  assert.strictEqual((await mns.deleteMessage(queue, changed.body.ReceiptHandle)).code, 204);
  const rest = await mns.batchReceiveMessage(queue, 16, 1);
  const handles = rest.body.map((one) => one.ReceiptHandle);
  assert.strictEqual((await mns.batchDeleteMessage(queue, handles.slice(0, 2))).code, 204);
  const part = await mns.batchDeleteMessage(queue, handles.slice(1));
  assert.strictEqual(part.code, 404);
  assert.strictEqual([part.body].flat()[0].ErrorCode, 'MessageNotExist');
}

async function limits(mns) {
  const queue = 'node-one';
  const many = Array.from({ length: 17 }, () => ({ MessageBody: 'bQ==' }));
  await refused('InvalidArgument', mns.batchSendMessage(queue, many));
  const mixed = [{ MessageBody: 'bQ==' }, { MessageBody: 'x'.repeat(2000) }];
  const part = await mns.batchSendMessage(queue, mixed);
  assert.strictEqual(part.code, 500);
  assert.strictEqual(part.body[1].ErrorCode, 'InvalidArgument');
  assert.strictEqual((await mns.getQueueAttributes(queue)).body.ActiveMessages, '1');
  for (const name of [queue, 'node-two', queue]) {
    assert.strictEqual((await mns.deleteQueue(name)).code, 204);
  }
}

async function besideOurs(mns, endpoint) {
  const queue = 'node-shared';
  await mns.createQueue(queue);
  await mns.sendMessage(queue, { MessageBody: base64('theirs 1') });
  await mns.batchSendMessage(queue, [{ MessageBody: base64('theirs 2 红包') }]);
  const ours = execFileSync(client, [endpoint, queue]).toString().trim().split('\n').sort();
  assert.deepStrictEqual(ours, ['theirs 1', 'theirs 2 红包']);
  const { body } = await mns.batchReceiveMessage(queue, 16, 1);
  const texts = body.map((one) => Buffer.from(one.MessageBody, 'base64').toString()).sort();
  assert.deepStrictEqual(texts, ['ours 1', 'ours 2']);
  await mns.deleteQueue(queue);
}

async function main() {
  const running = spawn(server, [], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    const [line] = await once(running.stdout, 'data');
    const endpoint = line.toString().trim();
    const options = { endpoint, accessKeyId: 'testid', accessKeySecret: 'testsecret' };
    const mns = new MNS('1', options);
    await queues(mns);
    await messages(mns);
    await limits(mns);
    await besideOurs(mns, endpoint);
    const stranger = new MNS('1', { ...options, accessKeySecret: 'guess' });
    await refused('SignatureDoesNotMatch', stranger.getQueueAttributes('node-one'));
  } finally {
    running.stdin.end();
  }
  console.log("the vendor's Node SDK of MNS is content");
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
