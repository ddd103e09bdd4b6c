import { describe, expect, it, vi } from 'vitest';

import { clockFace, jittered, ServerClock, timeLeft } from './time.ts';

describe('timeLeft and clockFace', () => {
  it.each([
    [0, '0:00'],
    [-5_000, '0:00'],
    [1, '0:01'],
    [1_000, '0:01'],
    [1_001, '0:02'],
    [59_999, '1:00'],
    [187_000, '3:07'],
    [3_723_000, '1:02:03'],
  ])('%i ms are %s', (ms, face) => {
    expect(clockFace(timeLeft(ms))).toBe(face);
  });

  it('counts days apart', () => {
    expect(timeLeft(2 * 86_400_000 + 3_000)).toEqual({ days: 2, hours: 0, minutes: 0, seconds: 3 });
    expect(clockFace(timeLeft(86_400_000))).toBe('0:00:00');
  });
});

describe('ServerClock', () => {
  /** A device whose clock is wrong by any amount; answers arrive `late` ms after they were made. */
  function device() {
    let local = 1_000;
    const clock = new ServerClock(() => local);
    const server = () => local + 50_000_000;
    return {
      clock,
      server,
      pass: (ms: number) => (local += ms),
      hear(late: number) {
        const made = server();
        local += late;
        clock.hear(new Date(made).toISOString());
      },
    };
  }

  it('is off by no more than the quickest answer was late', () => {
    const one = device();
    for (const late of [400, 30, 900]) one.hear(late);
    one.pass(12_345);
    expect(one.server() - one.clock.now()).toBe(30);
  });

  it('never shows the time ahead of the server', () => {
    const one = device();
    for (let i = 0; i < 50; i += 1) {
      one.hear((i * 37) % 211);
      expect(one.clock.now()).toBeLessThanOrEqual(one.server());
    }
  });

  it('forgets old estimates, so a clock that stood still is put right', () => {
    let local = 0;
    let server = 1_000_000;
    const clock = new ServerClock(() => local);
    clock.hear(new Date(server).toISOString());
    // The device's clock runs ahead by a minute: each old estimate is a minute too far.
    local += 60_000;
    for (let i = 0; i < 8; i += 1) {
      local += 1_000;
      server += 1_000;
      clock.hear(new Date(server).toISOString());
    }
    expect(clock.now()).toBe(server);
  });

  it('does not fall back on a wrong time of day once the server was heard', () => {
    const device = vi.spyOn(Date, 'now').mockReturnValue(5_000);
    const clock = new ServerClock(() => 0);
    clock.hear(new Date(1_000_000).toISOString());
    clock.forget();
    expect(clock.heard).toBe(false);
    device.mockReturnValue(65_000);
    expect(clock.now()).toBe(1_060_000);
    device.mockRestore();
  });

  it('ignores what is no time', () => {
    const clock = new ServerClock(() => 0);
    clock.hear('soon');
    const device = vi.spyOn(Date, 'now').mockReturnValue(42);
    expect(clock.now()).toBe(42);
    device.mockRestore();
  });
});

describe('jittered', () => {
  it('spreads between half and one and a half', () => {
    expect(jittered(1_000, () => 0)).toBe(500);
    expect(jittered(1_000, () => 0.999_999)).toBeCloseTo(1_500, 1);
  });
});
