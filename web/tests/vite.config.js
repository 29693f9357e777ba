/** Bundles the unit tests, so that any Node that builds the dashboard can run them with its own test runner. */

import { readdirSync } from 'node:fs'

import { defineConfig } from 'vite'

export default defineConfig({
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  ssr: { noExternal: true },
  build: {
    ssr: true,
    outDir: '../build/dashboard-tests',
    emptyOutDir: true,
    rollupOptions: { input: readdirSync('tests').flatMap((name) => (name.endsWith('.test.js') ? `tests/${name}` : [])) },
  },
})
