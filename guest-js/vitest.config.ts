import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'

import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig, type Plugin } from 'vitest/config'

import { guide } from './test/guide.js'

/** The guide's code, as a module that tests import: `guide.virtual.ts`. */
const written: Plugin = {
  name: 'guide',
  enforce: 'pre',
  resolveId: (id) => (id.endsWith('guide.virtual') ? resolve(import.meta.dirname, 'test/guide.virtual.ts') : null),
  load: (id) => (id.endsWith('guide.virtual.ts') ? guide(readFileSync) : null),
}

export default defineConfig({
  plugins: [written, svelte()],
  resolve: {
    conditions: ['browser'],
    alias: { 'tauri-plugin-sync-api': resolve(import.meta.dirname, 'index.ts') },
  },
  test: { environment: 'jsdom', include: ['guest-js/test/**/*.test.ts'] },
})
