/** Debian's Chromium, and pages that are watched for errors, blocked content and barriers. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import { chromium } from 'playwright-core';

export const PHONE = { width: 390, height: 844 };
export const DESK = { width: 1280, height: 800 };

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const ARGUMENTS = [
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ARGUMENTS,
  });

/**
 * A page of its own visitor. Everything that a user's console would show as an error goes to
 * `problems`, except what `expected` (its words and path) says is part of the walk.
 */
export async function visitor(browser, { size, language, problems, expected = [] }) {
  const context = await browser.newContext({
    viewport: size,
    locale: language,
    hasTouch: size === PHONE,
    acceptDownloads: true,
  });
  context.setDefaultTimeout(10_000);
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => {
      console.error(`blocked by the policy: ${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  const page = await context.newPage();
  page.on('pageerror', (error) => problems.push(`${page.url()}: ${error.stack}`));
  page.on('console', (message) => {
    if (!['error', 'warning'].includes(message.type())) return;
    const { url } = message.location();
    const known = expected.some(
      ({ says, path }) => message.text().includes(says) && url.includes(path),
    );
    if (!known) problems.push(`${page.url()}: ${message.text()} ${url}`);
  });
  return page;
}

/** What keeps people with other senses or hands from using the page as it is now. */
export async function barriers(page) {
  // Evaluated, not added as a script: the page's policy stays in force.
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() =>
    globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] }),
  );
  return violations.map(
    ({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`).join('; ')}`,
  );
}
