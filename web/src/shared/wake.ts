/** Calls `listener` whenever the page is seen or online again; what is returned ends that. */
export function onWake(listener: () => void): () => void {
  const woken = () => {
    if (document.visibilityState === 'visible') listener();
  };
  document.addEventListener('visibilitychange', woken);
  addEventListener('online', woken);
  return () => {
    document.removeEventListener('visibilitychange', woken);
    removeEventListener('online', woken);
  };
}
