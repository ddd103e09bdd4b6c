/**
 * The campaign as it is now: by server-sent events, and by asking when they do not come. The
 * pauses between asks are spread at random; the time that is shown never is.
 */
import { eventsUrl, publicCampaign, type PublicCampaign } from '../shared/api.ts';
import { ApiError } from '../shared/http.ts';
import { jittered, ServerClock } from '../shared/time.ts';
import { onWake } from '../shared/wake.ts';

/** Mean pause between asks while no events come, in milliseconds. */
const POLL_MS = 4_000;
/**
 * The same while events do come and the rain is paused. Nobody can tap: a resume whose event was
 * lost must not keep the button shut for long.
 */
const PAUSED_MS = 15_000;
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
  #forget: () => void = () => undefined;
  #stopped = false;

  constructor(
    readonly id: string,
    readonly random: () => number = Math.random,
  ) {}

  start(): void {
    this.#ticking = setInterval(() => this.#tick(), TICK_MS);
    this.#forget = onWake(this.#woken);
    void this.refresh().then(() => this.#connect());
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#ticking);
    clearTimeout(this.#polling);
    clearTimeout(this.#reconnecting);
    this.#events?.close();
    this.#forget();
  }

  /** Asks for the campaign now, and plans the next ask. */
  async refresh(): Promise<void> {
    clearTimeout(this.#polling);
    try {
      this.#take(await publicCampaign(this.id));
    } catch (error) {
      if (this.#stopped) return;
      // A campaign that is shown exists, whatever a replica that has just started says.
      if (!this.campaign) this.problem = isUnknown(error) ? 'unknown' : 'unreachable';
    }
    if (this.#stopped || this.problem === 'unknown' || this.#over()) return;
    const connected = this.#events?.readyState === EventSource.OPEN;
    const quietMs = this.campaign?.state === 'paused' ? PAUSED_MS : CHECK_MS;
    this.#refreshAfter(connected ? quietMs : POLL_MS);
  }

  #refreshAfter(meanMs: number): void {
    clearTimeout(this.#polling);
    this.#polling = setTimeout(() => void this.refresh(), jittered(meanMs, this.random));
  }

  /**
   * Answers and events come in any order: what was told earlier never replaces what was told later.
   * (One replica may know of a change a fifth of a second after another; the next ask mends that.)
   */
  #take(campaign: PublicCampaign): void {
    if (this.#stopped) return;
    this.#clock.hear(campaign.server_time);
    this.now = this.#clock.now();
    const shown = this.campaign;
    const older = shown && Date.parse(campaign.server_time) < Date.parse(shown.server_time);
    if (campaign.state !== 'ended' && (this.#over() || older)) return;
    if (shown && campaign.packets_issued > shown.packets_issued) this.soldOut = false;
    this.campaign = campaign;
    this.problem = null;
    if (this.#over()) this.#events?.close();
    else if (campaign.state === 'paused' && shown?.state !== 'paused') this.#refreshAfter(PAUSED_MS);
  }

  #over(): boolean {
    return this.campaign?.state === 'ended';
  }

  #connect(): void {
    clearTimeout(this.#reconnecting);
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
    this.#refreshAfter(POLL_MS / 2);
  }

  #hear(name: string, event: MessageEvent<string>): void {
    let told: PublicCampaign;
    try {
      told = JSON.parse(event.data) as PublicCampaign;
    } catch {
      // A garbled event only means that the state is asked for.
      return void this.refresh();
    }
    this.#take(told);
    // It holds for the packets that it was told of: a top-up may be known already.
    const issued = this.campaign?.packets_issued ?? 0;
    if (name === 'sold_out' && told.packets_issued >= issued) this.soldOut = true;
  }

  #tick(): void {
    this.now = this.#clock.now();
    const due = this.campaign?.next_wave_at;
    if (!due || this.#askedFor === due || !this.#clock.heard) return;
    if (this.now < Date.parse(due) + OVERDUE_MS) return;
    // The event is overdue: ask once for this wave, not all phones at once.
    this.#askedFor = due;
    this.#refreshAfter(OVERDUE_MS / 2);
  }

  #woken = (): void => {
    this.#clock.forget();
    // A connection may have died in silence and still call itself open.
    this.#connect();
    void this.refresh();
  };
}

/** Our server says that there is no such campaign, or that its id is none. */
function isUnknown(error: unknown): boolean {
  if (!(error instanceof ApiError) || !error.own) return false;
  return error.status === 400 || error.code === 'no_such_campaign';
}
