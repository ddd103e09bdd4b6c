/**
 * The walk-through by clicking only: set up, issue 10 packets in 3 batches 2 seconds apart,
 * grab on a phone in Chinese and in English, see and redeem the wins, watch the charts, audit,
 * and end the rain. Fails on any console error, blocked content or barrier on the way.
 *
 * Settings: see `server.mjs`; `SHOTS=folder` keeps a picture of every page in both languages
 * and at both sizes.
 */
import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { barriers, DESK, launch, PHONE, visitor } from './browser.mjs';
import { openServer } from './server.mjs';

const SHOTS = process.env.SHOTS;
/** Longer than the whole demo takes to open its waves. */
const RAIN_MS = 15_000;

const problems = [];
const server = await openServer();
const browser = await launch();
let failed = 0;
let passed = 0;

/** One step of the walk; the ones after a failed step would only repeat its failure. */
async function step(name, act) {
  if (failed > 0) return;
  try {
    await act();
    assert.deepEqual(problems, [], 'no errors in the consoles');
    passed += 1;
    console.log(`ok   ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}\n${error.stack}`);
    if (problems.length > 0) console.log(problems.join('\n'));
    for (const page of browser.contexts().flatMap((context) => context.pages())) {
      console.log(`--- ${page.url()}\n${await page.locator('main').innerText().catch(() => '')}`);
    }
  }
}

/** Checks the view as it is now for barriers, and keeps pictures of it. */
async function look(page, name) {
  assert.deepEqual(await barriers(page), [], `${name} can be used by everyone`);
  if (!SHOTS) return;
  await mkdir(SHOTS, { recursive: true });
  const before = page.viewportSize();
  const language = page.getByRole('group', { name: 'Language' });
  const modal = (await page.locator('dialog[open]').count()) > 0;
  for (const size of [PHONE, DESK]) {
    await page.setViewportSize(size);
    for (const locale of modal ? ['as-is'] : ['中文', 'English']) {
      if (!modal) await language.getByRole('button', { name: locale }).click();
      await page.waitForTimeout(300);
      const tag = { 中文: 'zh', English: 'en' }[locale] ?? locale;
      await page.screenshot({ path: join(SHOTS, `${name}-${size.width}-${tag}.png`), fullPage: true });
    }
  }
  await page.setViewportSize(before);
}

const say = (page, language) =>
  page.getByRole('group', { name: 'Language' }).getByRole('button', { name: language }).click();

const expected = [
  { says: 'status of 401', path: '/monitor/api/sessions' },
  { says: 'status of 400', path: '/monitor/api/campaigns' },
  { says: 'status of 404', path: '/redpacket/campaigns/' },
];
const desk = await visitor(browser, { size: DESK, language: 'en-GB', problems, expected });
const phoneZh = await visitor(browser, { size: PHONE, language: 'zh-CN', problems, expected });
const phoneEn = await visitor(browser, { size: PHONE, language: 'en-US', problems, expected });
const codes = { zh: `识别码-${Date.now()}`, en: `code-${Date.now()}` };
let campaign;

await step('the organiser is set up by the one-time link, or logs in', async () => {
  if (server.setupToken) {
    await desk.goto(`${server.url}/monitor#/setup?token=${server.setupToken}`);
    await desk.getByLabel('User name').fill(server.username);
    await desk.getByLabel('Password').fill('short');
    await desk.getByRole('button', { name: 'Create and log in' }).click();
    await desk.getByText('At least 8 characters.', { exact: true }).waitFor();
    await look(desk, 'setup');
    await say(desk, 'English');
    await desk.getByLabel('Password').fill(server.password);
    await desk.getByRole('button', { name: 'Create and log in' }).click();
    await desk.getByRole('heading', { name: 'Campaigns', exact: true }).waitFor();
    assert.ok(!desk.url().includes('token'), 'the token is gone from the address');
    await look(desk, 'campaigns-empty');
    await say(desk, 'English');
    await desk.getByRole('button', { name: 'Log out' }).click();
  } else {
    await desk.goto(`${server.url}/monitor`);
  }
  await desk.getByRole('heading', { name: 'Log in to the console' }).waitFor();
  await look(desk, 'login');
  await say(desk, 'English');
  await desk.getByLabel('User name').fill(server.username);
  await desk.getByLabel('Password').fill('not the password');
  await desk.getByRole('button', { name: 'Log in' }).click();
  await desk.getByText('User name or password is wrong.').waitFor();
  await desk.getByLabel('Password').fill(server.password);
  await desk.getByRole('button', { name: 'Log in' }).click();
  await desk.getByRole('heading', { name: 'Campaigns', exact: true }).waitFor();
});

await step('a phone that comes too early is told that there is no rain', async () => {
  if (!server.fresh) return;
  await phoneZh.goto(`${server.url}/webpage`);
  await phoneZh.getByText('现在没有红包雨。').waitFor();
  await look(phoneZh, 'phone-none');
  await say(phoneZh, '中文');
});

await step('10 packets in 3 batches 2 seconds apart are issued', async () => {
  await desk.getByRole('link', { name: 'New campaign' }).first().click();
  await desk.getByRole('button', { name: 'Issue the packets' }).click();
  await desk.getByText('Fill this in.').first().waitFor();
  await look(desk, 'new-refused');
  await say(desk, 'English');
  await desk.getByRole('button', { name: 'Fill in the demo' }).click();
  await desk.getByText('4 + 3 + 3').waitFor();
  await desk.getByText('¥100.00').waitFor();
  // What the server refuses is shown at its field too.
  await desk.getByLabel('Wins per participant').fill('999999');
  await desk.getByRole('button', { name: 'Issue the packets' }).click();
  const limit = desk.getByLabel('Wins per participant');
  await desk.waitForFunction(
    (field) => field.getAttribute('aria-invalid') === 'true',
    await limit.elementHandle(),
  );
  await limit.fill('1');
  await look(desk, 'new-demo');
  await say(desk, 'English');
  let created = 0;
  desk.on('request', (request) => {
    if (request.method() === 'POST' && request.url().endsWith('/api/campaigns')) created += 1;
  });
  await desk.getByRole('button', { name: 'Issue the packets' }).dblclick();
  await desk.getByRole('heading', { name: 'Waves' }).waitFor();
  assert.equal(created, 1, 'a second click creates nothing');
  campaign = /campaigns\/([^/]+)/.exec(desk.url())?.[1];
  assert.ok(campaign);
});

await step('a code is entered and a packet grabbed in Chinese', async () => {
  // With one live rain, the page goes straight to it.
  await phoneZh.goto(server.fresh ? `${server.url}/webpage` : `${server.url}/webpage/${campaign}`);
  await phoneZh.getByLabel('您的识别码').waitFor();
  await phoneZh.getByRole('button', { name: '进入' }).click();
  await phoneZh.getByText('请输入识别码。').waitFor();
  await phoneZh.getByLabel('您的识别码').fill(codes.zh);
  await phoneZh.getByText('请输入识别码。').waitFor({ state: 'detached' });
  // Switching the language in place keeps what was typed.
  await say(phoneZh, 'English');
  assert.equal(await phoneZh.getByLabel('Your identification code').inputValue(), codes.zh);
  await look(phoneZh, 'phone-code');
  await say(phoneZh, '中文');
  await phoneZh.getByRole('button', { name: '进入' }).click();
  const grabs = [];
  phoneZh.on('request', (request) => {
    if (request.url().endsWith('/grab')) grabs.push(request.headers()['grab-id']);
  });
  const button = phoneZh.getByRole('button', { name: '抢', exact: true });
  await button.waitFor();
  const box = await button.boundingBox();
  assert.ok(box && box.width >= 44 && box.height >= 44, 'the button is large enough for a thumb');
  await button.evaluate((element) => {
    element.click();
    element.click();
  });
  await phoneZh.getByText('恭喜，抢到了！').waitFor({ timeout: RAIN_MS });
  assert.equal(grabs.length, 1, 'a double tap is one ask');
  await phoneZh.getByText('未兑奖').waitFor();
  await look(phoneZh, 'phone-won');
  await say(phoneZh, '中文');
  await phoneZh.getByRole('button', { name: '抢', exact: true }).click();
  await phoneZh.getByText('您已经抢到：').waitFor();
  assert.equal(new Set(grabs).size, 2, 'each tap has an id of its own');
});

await step('a code is entered and a packet grabbed in English, by keyboard', async () => {
  await phoneEn.goto(`${server.url}/webpage/?c=${campaign}`);
  await phoneEn.getByLabel('Your identification code').fill(codes.en);
  await phoneEn.keyboard.press('Enter');
  await phoneEn.getByRole('button', { name: 'Grab', exact: true }).focus();
  await phoneEn.keyboard.press('Enter');
  await phoneEn.getByText('You won!').waitFor({ timeout: RAIN_MS });
  await phoneEn.getByRole('button', { name: 'Show my code' }).click();
  await phoneEn.getByText(codes.en, { exact: true }).waitFor();
  await phoneEn.reload();
  await phoneEn.getByText('Not redeemed').waitFor();
});

await step('a grab whose replies are lost still gets its one answer', async () => {
  const asked = [];
  let lost = 0;
  await phoneEn.route('**/grab', async (route) => {
    asked.push(route.request().headers());
    if (lost >= 2) return route.continue();
    lost += 1;
    await route.fetch();
    return route.fulfill({
      status: 503,
      headers: { 'Retry-After': '0' },
      json: { error: { code: 'unavailable', message: 'lost', request_id: 'e2e' } },
    });
  });
  expected.push({ says: 'status of 503', path: '/grab' });
  await phoneEn.getByRole('button', { name: 'Grab', exact: true }).click();
  await phoneEn.getByText('You have won already:').waitFor({ timeout: RAIN_MS });
  assert.deepEqual(asked.map((headers) => headers['grab-attempt']), ['1', '2', '3']);
  assert.equal(new Set(asked.map((headers) => headers['grab-id'])).size, 1);
  await phoneEn.unroute('**/grab');
});

await step('a grab without a network waits, and gets its answer when there is one', async () => {
  expected.push({ says: 'ERR_INTERNET_DISCONNECTED', path: '/redpacket/' });
  await phoneEn.context().setOffline(true);
  await phoneEn.getByText('You are offline.').waitFor();
  await phoneEn.getByRole('button', { name: 'Grab', exact: true }).click();
  await phoneEn.getByText('Still checking.').waitFor();
  await look(phoneEn, 'phone-offline');
  await say(phoneEn, 'English');
  await phoneEn.context().setOffline(false);
  await phoneEn.getByText('You have won already:').waitFor({ timeout: RAIN_MS });
  await phoneEn.getByText('You are offline.').waitFor({ state: 'detached' });
});

await step('a token that is no longer taken is replaced by the code of this tab', async () => {
  expected.push({ says: 'status of 401', path: '/redpacket/' });
  await phoneEn.context().clearCookies();
  const asked = [];
  phoneEn.on('request', (request) => {
    if (request.url().endsWith('/grab')) asked.push(request.headers()['grab-id']);
  });
  await phoneEn.getByRole('button', { name: 'Grab', exact: true }).click();
  await phoneEn.waitForResponse((response) => response.url().endsWith('/grab') && response.ok());
  await phoneEn.getByText('You have won already:').waitFor();
  assert.equal(asked.length, 2);
  assert.equal(new Set(asked).size, 1, 'the tap that was refused is the one that is answered');
});

await step('where the tab has no code, it leads to the code and back to the same tap', async () => {
  await phoneEn.evaluate(() => sessionStorage.clear());
  await phoneEn.reload();
  await phoneEn.getByText('Not redeemed').waitFor();
  await phoneEn.context().clearCookies();
  const asked = [];
  phoneEn.on('request', (request) => {
    if (request.url().endsWith('/grab')) asked.push(request.headers()['grab-id']);
  });
  await phoneEn.getByRole('button', { name: 'Grab', exact: true }).click();
  await phoneEn.getByText('Your sign-in has run out.').waitFor();
  await look(phoneEn, 'phone-expired');
  await say(phoneEn, 'English');
  await phoneEn.getByLabel('Your identification code').fill(codes.en);
  await phoneEn.getByRole('button', { name: 'Enter' }).click();
  await phoneEn.getByText('You have won already:').waitFor({ timeout: RAIN_MS });
  await phoneEn.waitForFunction(() => document.activeElement.classList.contains('grab'));
  assert.equal(asked.length, 2);
  assert.equal(new Set(asked).size, 1, 'the tap that was refused is the one that is answered');
});

await step('the live state shows every wave open and the wins', async () => {
  await desk.locator('td .badge.running').nth(2).waitFor({ timeout: RAIN_MS });
  await desk.locator('dl > div', { hasText: 'Claimed' }).getByText('2', { exact: true }).waitFor();
  const qr = desk.getByRole('img', { name: 'QR code of the participants' });
  await qr.waitFor();
  assert.ok(await qr.evaluate((image) => image.complete && image.naturalWidth > 0), 'the QR code is drawn');
  await look(desk, 'live');
  await say(desk, 'English');
});

await step('the winner is found by the presented code and redeemed', async () => {
  await desk.getByRole('link', { name: 'Winners' }).click();
  await desk.locator('tbody tr').nth(1).waitFor();
  assert.equal(await desk.locator('tbody tr').count(), 2);
  await desk.getByLabel('Search by').selectOption('code');
  await desk.getByRole('searchbox').fill(codes.zh);
  await desk.getByRole('button', { name: 'Search' }).click();
  await desk.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
  await desk.getByRole('button', { name: /^Redeem packet/ }).click();
  await look(desk, 'redeem');
  await desk.getByRole('dialog').getByRole('button', { name: 'Redeem' }).click();
  await desk.locator('tbody .badge').getByText('Redeemed').waitFor();
  await desk.getByText(/^Packet .* is redeemed: /).waitFor();
  await desk.getByRole('button', { name: 'Show all' }).click();
  await desk.waitForFunction(() => document.querySelectorAll('tbody tr').length === 2);
  // Another desk is quicker while this one asks.
  await desk.getByRole('button', { name: /^Redeem packet/ }).click();
  const { status } = await desk.evaluate(async (path) => {
    const { winners } = await (await fetch(`${path}/winners`)).json();
    const { packet } = winners.find(({ redeemed_at }) => redeemed_at === null);
    return fetch(`${path}/winners/${packet}/redeem`, { method: 'POST' }).then(({ status }) => ({ status }));
  }, `/monitor/api/campaigns/${campaign}`);
  assert.equal(status, 200);
  await desk.getByRole('dialog').getByRole('button', { name: 'Redeem' }).click();
  await desk.getByText('had been redeemed already').waitFor();
  await look(desk, 'winners');
  await say(desk, 'English');
  const [download] = await Promise.all([
    desk.waitForEvent('download'),
    desk.getByRole('link', { name: 'Download CSV' }).click(),
  ]);
  const csv = await readFile(await download.path(), 'utf8');
  assert.equal(csv.trim().split('\n').length, 3, 'a heading and two winners');
  assert.ok(!csv.includes(codes.zh), 'no code is exported');
  await phoneZh.reload();
  await phoneZh.getByText('已兑奖').waitFor();
});

await step('the analysis is drawn', async () => {
  await desk.getByRole('link', { name: 'Analysis' }).click();
  await desk.locator('[data-drawn="true"] canvas').nth(2).waitFor();
  await desk.waitForFunction(() =>
    [...document.querySelectorAll('[data-drawn] canvas')].every((canvas) => {
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      return data.some((value, i) => i % 4 === 3 && value > 0);
    }),
  );
  await desk.getByText('The same as tables').click();
  await desk.getByRole('row', { name: /^Won 2$/ }).waitFor();
  if (server.fresh) {
    const agree = desk.getByText('The log service and the ledger count the same.');
    await agree.waitFor({ timeout: 60_000 });
  }
  // A tooltip would be the first thing that a strict policy blocks.
  await desk.locator('[data-drawn] canvas').first().hover();
  await look(desk, 'stats');
  await say(desk, 'English');
});

await step('the audit balances', async () => {
  await desk.getByRole('link', { name: 'Audit' }).click();
  await desk.getByRole('button', { name: 'Run the audit' }).click();
  await desk.locator('[data-balanced="true"]').waitFor();
  await look(desk, 'audit');
  await say(desk, 'English');
});

await step('the rain is paused, resumed, topped up and edited', async () => {
  const confirm = async (name) => {
    await desk.getByRole('button', { name, exact: true }).click();
    await desk.getByRole('dialog').getByRole('button', { name, exact: true }).click();
  };
  await confirm('Pause');
  await phoneZh.getByText('主办方已暂停').waitFor();
  await look(phoneZh, 'phone-paused');
  await say(phoneZh, '中文');
  await confirm('Resume');
  await phoneZh.getByText('红包来了，快抢！').waitFor();
  await desk.getByRole('button', { name: 'Top up', exact: true }).click();
  await desk.getByLabel('Packets to add').fill('5');
  await desk.getByLabel('Total (CNY)').fill('50');
  await desk.getByText('¥50.00').waitFor();
  await look(desk, 'top-up');
  // A session that ends takes nothing of what was typed.
  expected.push({ says: 'status of 401', path: '/monitor/api/' });
  await desk.context().clearCookies();
  await desk.getByText('Your session has ended.').waitFor();
  await look(desk, 'login-again');
  await desk.getByLabel('User name').fill(server.username);
  await desk.getByLabel('Password').fill(server.password);
  await desk.keyboard.press('Enter');
  await desk.getByText('Your session has ended.').waitFor({ state: 'detached' });
  assert.equal(await desk.title(), 'Demo rain · Hongbao console');
  await desk.getByRole('dialog').getByRole('button', { name: 'Top up' }).click();
  await desk.getByRole('dialog').waitFor({ state: 'detached' });
  await desk.getByRole('link', { name: 'Live' }).click();
  await desk.getByText('¥150.00').waitFor();
  await desk.getByRole('button', { name: 'Edit', exact: true }).click();
  await desk.getByRole('dialog').getByLabel('Title').fill('晚会 Rain');
  await look(desk, 'edit');
  await desk.getByRole('button', { name: 'Save' }).click();
  await desk.getByRole('heading', { name: '晚会 Rain' }).waitFor();
  assert.equal(await desk.title(), '晚会 Rain · Hongbao console');
  await phoneZh.getByRole('heading', { name: '晚会 Rain' }).waitFor();
});

await step('the rain is closed: the seed is public, the rest is refunded', async () => {
  await desk.getByRole('button', { name: 'Close', exact: true }).click();
  await desk.getByText('This is final.').waitFor();
  await look(desk, 'close');
  await desk.getByRole('dialog').getByRole('button', { name: 'Close', exact: true }).click();
  await phoneZh.getByText('这场红包雨已经结束，感谢参与。').waitFor();
  await phoneZh.getByText('金额是否公平？可自行验证').click();
  const seed = await phoneZh.locator('dd code').nth(1).innerText();
  assert.match(seed, /^[0-9a-f]{64}$/);
  await look(phoneZh, 'phone-ended');
  await say(phoneZh, '中文');
  await desk.getByRole('link', { name: 'Audit' }).click();
  await desk.getByRole('button', { name: 'Run the audit' }).click();
  await desk.locator('[data-balanced="true"]').waitFor();
  await desk.getByRole('row', { name: /^Refunded .* 13$/ }).waitFor();
});

await step('another code is entered on the same phone', async () => {
  await phoneZh.getByRole('button', { name: '更换识别码' }).click();
  await phoneZh.getByLabel('您的识别码').fill('someone else');
  await phoneZh.getByRole('button', { name: '进入' }).click();
  await phoneZh.getByText('您在本场没有抢到红包。').waitFor();
});

await step('users are imported, listed without codes, and deleted', async () => {
  await desk.getByRole('link', { name: 'Users' }).click();
  await desk.getByLabel('Paste users').fill('code,user,name\nsecret-1,ada,Ada\nsecret-2,李雷,');
  await desk.getByRole('button', { name: 'Import' }).click();
  await desk.getByText('Imported: 2 new, 0 changed.').waitFor();
  await desk.getByRole('cell', { name: '李雷', exact: true }).waitFor();
  assert.ok(!(await desk.locator('main').innerText()).includes('secret-1'));
  await look(desk, 'users');
  await say(desk, 'English');
  await desk.getByRole('button', { name: 'Delete ada' }).click();
  await desk.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await desk.getByText('1 in all').waitFor();
  await desk.getByRole('link', { name: 'Queue' }).click();
  await desk.getByText('Backend').waitFor();
  await desk.getByRole('heading', { name: 'Packets, by the ledger' }).waitFor();
  await look(desk, 'queue');
  await say(desk, 'English');
  await desk.getByRole('link', { name: 'Campaigns' }).click();
  await desk.getByRole('link', { name: '晚会 Rain' }).waitFor();
  await look(desk, 'campaigns');
});

await step('a link to nowhere says so', async () => {
  await phoneEn.goto(`${server.url}/webpage/01935b1e-0000-7000-8000-000000000000`);
  await phoneEn.getByText('There is no such rain').waitFor();
  await look(phoneEn, 'phone-unknown');
});

await browser.close();
try {
  await server.stop();
} catch (error) {
  failed += 1;
  console.log(`FAIL ${error.message}`);
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
