import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vitest/config'

/** What the page may load in development; a test reads the relay's page for invites, too. */
const allow = ['.', '../dist-js', ...(process.env['VITEST'] ? ['../relay/src/http/join'] : [])]

export default defineConfig({
  plugins: [svelte()],
  clearScreen: false,
  // Tauri shows what is at this address; another one would be a white window.
  server: { port: 1420, strictPort: true, fs: { allow }, watch: { ignored: ['**/src-tauri/**'] } },
  // The plugin's package is a link to the folder above, which has its own copies of these.
  resolve: { dedupe: ['svelte', '@tauri-apps/api'], ...(process.env['VITEST'] && { conditions: ['browser'] }) },
  // Every file is a file: what is written into the page as data: would need a wider content security policy.
  build: { target: 'es2022', assetsInlineLimit: 0 },
  test: { environment: 'jsdom', include: ['test/**/*.test.ts'], setupFiles: ['fake-indexeddb/auto'] },
})
