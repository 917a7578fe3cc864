import { defineConfig } from 'vitest/config'

/** Stories in real windows, one after the other: they take a computer's whole attention. */
export default defineConfig({
  test: { include: ['e2e/**/*.test.ts'], fileParallelism: false, testTimeout: 120_000 },
})
