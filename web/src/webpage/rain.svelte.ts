/**
 * The campaign as it is now: by server-sent events, and by asking when they do not come. The
 * pauses between asks are spread at random; the time that is shown never is.
 */
import { eventsUrl, publicCampaign, type PublicCampaign } from '../shared/api.ts';
import { ApiError } from '../shared/http.ts';
import { jittered, ServerClock } from '../shared/time.ts';

/** Mean pause between asks while no events come, in milliseconds. */
const POLL_MS = 4_000;
/** The same while events do come: only against a connection that died in silence. */
const CHECK_MS = 60_000;
/** Mean pauses before the events are asked for again, in milliseconds. */
const RECONNECT_MS = [1_000, 2_000, 5_000, 10_000, 20_000];
/** After a wave was due, how long to wait for its event before asking. */
const OVERDUE_MS = 2_000;
const TICK_MS = 200;

export class Rain {
  campaign = $state<PublicCampaign | null>(null);
  /** Nothing to show: the campaign is unknown, or could not be loaded yet. */
  problem = $state<'unknown' | 'unreachable' | null>(null);
  /** Every packet is claimed, and no wave will come unless the organiser tops up. */
  soldOut = $state(false);
  /** The server's time in milliseconds since the epoch, as of the last tick. */
  now = $state(Date.now());

  #clock = new ServerClock(() => performance.now());
  #events: EventSource | null = null;
  #failures = 0;
  #polling: ReturnType<typeof setTimeout> | undefined;
  #reconnecting: ReturnType<typeof setTimeout> | undefined;
  #ticking: ReturnType<typeof setInterval> | undefined;
  #askedFor: string | null = null;
  #stopped = false;

  constructor(
    readonly id: string,
    readonly random: () => number = Math.random,
  ) {}

  start(): void {
    this.#ticking = setInterval(() => this.#tick(), TICK_MS);
    document.addEventListener('visibilitychange', this.#woken);
    addEventListener('online', this.#woken);
    void this.refresh().then(() => this.#connect());
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#ticking);
    clearTimeout(this.#polling);
    clearTimeout(this.#reconnecting);
    this.#events?.close();
    document.removeEventListener('visibilitychange', this.#woken);
    removeEventListener('online', this.#woken);
  }

  /** Asks for the campaign now, and plans the next ask. */
  async refresh(): Promise<void> {
    clearTimeout(this.#polling);
    try {
      this.#take(await publicCampaign(this.id));
    } catch (error) {
      if (this.#stopped) return;
      const unknown = error instanceof ApiError && [400, 404].includes(error.status);
      if (unknown) this.problem = 'unknown';
      else if (!this.campaign) this.problem = 'unreachable';
    }
    if (this.#stopped || this.problem === 'unknown' || this.#over()) return;
    const connected = this.#events?.readyState === EventSource.OPEN;
    const pause = jittered(connected ? CHECK_MS : POLL_MS, this.random);
    this.#polling = setTimeout(() => void this.refresh(), pause);
  }

  #take(campaign: PublicCampaign): void {
    if (this.#stopped) return;
    this.#clock.hear(campaign.server_time);
    if (this.campaign && campaign.packets_issued > this.campaign.packets_issued) {
      this.soldOut = false;
    }
    this.campaign = campaign;
    this.problem = null;
    this.now = this.#clock.now();
    if (this.#over()) this.#events?.close();
  }

  #over(): boolean {
    return this.campaign?.state === 'ended';
  }

  #connect(): void {
    if (this.#stopped || this.#over() || this.problem === 'unknown') return;
    this.#events?.close();
    const events = new EventSource(eventsUrl(this.id));
    this.#events = events;
    events.onopen = () => (this.#failures = 0);
    // The browser would reconnect by itself, but every phone at the same moment.
    events.onerror = () => {
      events.close();
      this.#reconnectLater();
    };
    for (const name of ['state', 'wave_opened', 'sold_out', 'ended']) {
      events.addEventListener(name, (event) => this.#hear(name, event as MessageEvent<string>));
    }
  }

  #reconnectLater(): void {
    if (this.#stopped) return;
    const step = Math.min(this.#failures, RECONNECT_MS.length - 1);
    this.#failures += 1;
    clearTimeout(this.#reconnecting);
    this.#reconnecting = setTimeout(
      () => this.#connect(),
      jittered(RECONNECT_MS[step]!, this.random),
    );
    clearTimeout(this.#polling);
    this.#polling = setTimeout(() => void this.refresh(), jittered(POLL_MS / 2, this.random));
  }

  #hear(name: string, event: MessageEvent<string>): void {
    try {
      this.#take(JSON.parse(event.data) as PublicCampaign);
    } catch {
      // A garbled event only means that the state is asked for.
      void this.refresh();
    }
    if (name === 'sold_out') this.soldOut = true;
    if (name === 'wave_opened') this.soldOut = false;
  }

  #tick(): void {
    this.now = this.#clock.now();
    const due = this.campaign?.next_wave_at;
    if (!due || this.#askedFor === due || this.now < Date.parse(due) + OVERDUE_MS) return;
    // The event is overdue: ask once for this wave, not all phones at once.
    this.#askedFor = due;
    clearTimeout(this.#polling);
    this.#polling = setTimeout(() => void this.refresh(), jittered(1_000, this.random));
  }

  #woken = (): void => {
    if (document.visibilityState !== 'visible') return;
    this.#clock.forget();
    if (this.#events?.readyState !== EventSource.OPEN) this.#connect();
    void this.refresh();
  };
}
