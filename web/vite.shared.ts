import { svelte } from '@sveltejs/vite-plugin-svelte';
import type { UserConfig } from 'vite';

/** Where `npm run mock` or a running `hongbao serve` answers while the pages are developed. */
const SERVER = process.env.HONGBAO_URL ?? 'http://127.0.0.1:8080';

/**
 * The build of one page. The page of `/webpage` lives in `dist/webpage` and its assets under
 * `/webpage/static/`, so that a path in `dist` is the path it is served under; the console
 * likewise. Nothing is inlined: the pages run under a policy that allows no inline code or style.
 */
export function page(name: 'webpage' | 'monitor'): UserConfig {
  return {
    root: `src/${name}`,
    base: `/${name}/`,
    publicDir: false,
    plugins: [svelte({ configFile: '../../svelte.config.js' })],
    build: {
      outDir: `../../dist/${name}`,
      emptyOutDir: true,
      assetsDir: 'static',
      assetsInlineLimit: 0,
      target: ['es2021', 'safari15', 'chrome95', 'firefox95'],
      modulePreload: { polyfill: false },
      // ECharts is large even when only its used parts are taken, and is loaded on demand.
      chunkSizeWarningLimit: 700,
    },
    server: {
      port: name === 'webpage' ? 5173 : 5174,
      proxy: {
        '/account': SERVER,
        '/redpacket': SERVER,
        '/monitor/api': SERVER,
      },
    },
  };
}
