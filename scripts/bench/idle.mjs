// What a connection costs that only waits: 10,000 readers of a campaign's events.
import { connect } from 'node:net';

import { sleep } from '../lib/server.mjs';
import { memoryMb } from './tools.mjs';

/** How many connections are opened at a time, so that the kernel's backlog is never full. */
const AT_ONCE = 200;

function subscribe(url, path) {
  const { hostname, port, host } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname);
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('an idle connection was closed')));
    socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nAccept: text/event-stream\r\n\r\n`);
    let text = '';
    socket.on('data', (part) => {
      // Only the beginning is looked at: the first event proves that it is subscribed.
      if (text.length < 10_000) text += part;
      if (text.includes('event:')) resolve(socket);
      else if (!text.startsWith('HTTP/1.1 200')) reject(new Error(text));
    });
  });
}

/** Kilobytes of the server's memory for each of `count` idle event streams. */
export async function idleStreams(server, campaign, count) {
  const path = `/redpacket/campaigns/${campaign}/events`;
  const before = memoryMb(server.pid, 'VmRSS');
  const sockets = [];
  while (sockets.length < count) {
    const more = Array.from({ length: Math.min(AT_ONCE, count - sockets.length) }, () => subscribe(server.url, path));
    sockets.push(...(await Promise.all(more)));
  }
  await sleep(3000);
  const after = memoryMb(server.pid, 'VmRSS');
  for (const socket of sockets) {
    socket.removeAllListeners('close');
    socket.destroy();
  }
  return { count, beforeMb: before, afterMb: after, kilobytesEach: ((after - before) * 1024) / count };
}
