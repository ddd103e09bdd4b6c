/**
 * Which view the address names. Views live behind `#`, so that the server has one page to
 * serve and a link to any view can be kept.
 */
export type CampaignTab = 'live' | 'winners' | 'stats' | 'audit';

export type Route =
  | { view: 'campaigns' }
  | { view: 'new' }
  | { view: 'campaign'; id: string; tab: CampaignTab }
  | { view: 'users' }
  | { view: 'queue' }
  | { view: 'setup'; token: string }
  | { view: 'unknown' };

const TABS: readonly string[] = ['live', 'winners', 'stats', 'audit'];

/** The route of `#/path?query`. */
export function routeOf(hash: string): Route {
  const [path = '', search = ''] = hash.replace(/^#/, '').split('?', 2);
  const [first = '', second, third] = path.split('/').filter(Boolean);
  switch (first) {
    case '':
      return { view: 'campaigns' };
    case 'campaigns':
      if (second === undefined) return { view: 'campaigns' };
      if (second === 'new') return { view: 'new' };
      if (third !== undefined && !TABS.includes(third)) return { view: 'unknown' };
      return { view: 'campaign', id: second, tab: (third ?? 'live') as CampaignTab };
    case 'users':
      return { view: 'users' };
    case 'queue':
      return { view: 'queue' };
    case 'setup':
      return { view: 'setup', token: new URLSearchParams(search).get('token') ?? '' };
    default:
      return { view: 'unknown' };
  }
}

export const to = {
  campaigns: '#/campaigns',
  create: '#/campaigns/new',
  users: '#/users',
  queue: '#/queue',
  campaign: (id: string, tab: CampaignTab = 'live') => `#/campaigns/${id}/${tab}`,
};

class Router {
  route = $state<Route>(routeOf(location.hash));

  constructor() {
    addEventListener('hashchange', () => (this.route = routeOf(location.hash)));
  }

  /** `replace` leaves no step to go back to. */
  go(hash: string, replace = false): void {
    if (replace) history.replaceState(null, '', hash);
    else location.hash = hash;
    this.route = routeOf(hash);
  }
}

export const router = new Router();
