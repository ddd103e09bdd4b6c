// The vendor's Node SDK of SLS against the offline SLS: every operation and error. Called by
// sls.sh, with the folder of the examples and the folder of the SDK.
const assert = require('node:assert');
const { spawn } = require('node:child_process');
const dns = require('node:dns');
const { once } = require('node:events');
const { createRequire } = require('node:module');

const [examples, sdk] = process.argv.slice(2);
const SLS = createRequire(`${sdk}/`)('@alicloud/log');

// A project is found by its name in the host; here all of them are this machine.
dns.lookup = (host, options, callback) => {
  const answer = typeof options === 'function' ? options : callback;
  if (options.all) return answer(null, [{ address: '127.0.0.1', family: 4 }]);
  return answer(null, '127.0.0.1', 4);
};

const [project, store] = ['sdk-node', 'grabs'];
const now = Math.floor(Date.now() / 1000);
const [from, to] = [new Date((now - 60) * 1000), new Date((now + 60) * 1000)];
const refused = (code, call) => assert.rejects(call, (error) => {
  assert.strictEqual(error.code, code, error.message);
  return true;
});

async function control(sls) {
  await refused('ProjectNotExist', sls.getProject(project));
  await sls.createProject(project, { description: 'a test' });
  await refused('ProjectAlreadyExist', sls.createProject(project, { description: 'again' }));
  assert.strictEqual((await sls.getProject(project)).description, 'a test');
  await sls.createLogStore(project, store, { ttl: 7, shardCount: 1 });
  await refused('LogStoreAlreadyExist', sls.createLogStore(project, store, { ttl: 7, shardCount: 1 }));
  await sls.updateLogStore(project, store, { ttl: 9, shardCount: 1 });
  assert.strictEqual((await sls.getLogStore(project, store)).ttl, 9);
  assert.deepStrictEqual((await sls.listLogStore(project)).logstores, [store]);
  await refused('IndexConfigNotExist', sls.getIndexConfig(project, store));
  const number = { type: 'long', doc_value: true, alias: '' };
  await sls.createIndex(project, store, { ttl: 7, keys: { n: number } });
  await refused('IndexAlreadyExist', sls.createIndex(project, store, { ttl: 7, keys: { n: number } }));
  const text = { type: 'text', doc_value: true, alias: '', token: ['/', ' '], caseSensitive: false };
  await sls.updateIndex(project, store, { ttl: 7, keys: { n: number, uri: text } });
  assert.strictEqual((await sls.getIndexConfig(project, store)).keys.uri.type, 'text');
}

async function logs(sls) {
  const log = (n) => ({ timestamp: now - 5, content: { n: `${n}`, uri: `/grab/${n} 中` } });
  const group = { logs: [1, 2, 3].map(log), topic: 't', source: '10.0.0.2', tags: [{ pod: 'n1' }] };
  await sls.postLogStoreLogs(project, store, group);
  await refused('LogStoreNotExist', sls.postLogStoreLogs(project, 'absent', group));
  const get = (query) => sls.getLogs(project, store, from, to, { query, line: 10 });
  const found = await get('n > 1 and uri: 中');
  assert.deepStrictEqual(found.map((one) => one.n), ['2', '3']);
  assert.strictEqual(found[0]['__tag__:pod'], 'n1');
  const [row] = await get('* | select count(*) as c, sum(n) as s');
  assert.deepStrictEqual([row.c, row.s], ['3', '6']);
  const parts = await sls.getHistograms(project, store, from, to, { query: 'n < 3' });
  assert.strictEqual(parts.reduce((sum, part) => sum + part.count, 0), 2);
  await refused('ParameterInvalid', get('absent: 1'));
  await refused('InvalidTimeRange', sls.getLogs(project, store, to, from, {}));
}

async function main() {
  const running = spawn(`${examples}/offline_sls`, [], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    const [line] = await once(running.stdout, 'data');
    const port = line.toString().trim().split(':').pop();
    const options = { endpoint: `http://sls.local:${port}`, accessKeyId: 'testid', accessKeySecret: 'testsecret' };
    const sls = new SLS(options);
    await control(sls);
    await logs(sls);
    const stranger = new SLS({ ...options, accessKeySecret: 'guess' });
    await refused('SignatureNotMatch', stranger.getProject(project));
    await sls.deleteIndex(project, store);
    await sls.deleteLogStore(project, store);
    await sls.deleteProject(project);
    await refused('ProjectNotExist', sls.getProject(project));
  } finally {
    running.stdin.end();
  }
  console.log("the vendor's Node SDK of SLS is content");
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
