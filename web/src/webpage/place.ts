/** Which campaign the address names: `/webpage/?c=<id>` or `/webpage/<id>`. */
export function campaignOf(place: Pick<Location, 'pathname' | 'search'>): string | null {
  const asked = new URLSearchParams(place.search).get('c')?.trim();
  if (asked) return asked;
  const rest = /^\/webpage\/([^/]+)\/?$/.exec(place.pathname)?.[1];
  return rest ? safeDecode(rest) : null;
}

export function urlOf(id: string | null): string {
  return id === null ? '/webpage/' : `/webpage/?c=${encodeURIComponent(id)}`;
}

function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
