import { defineConfig } from 'vite'

// `npm run dev` serves the pages anew after each change; the API is that of a running `heldout up`.
const api = process.env.HELDOUT_URL ?? 'http://127.0.0.1:8000'

export default defineConfig({
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir: '../api/static',
    emptyOutDir: true,
    target: 'es2022',
    modulePreload: { polyfill: false }, // it would be an inline script
    assetsInlineLimit: 0, // the policy allows no data: addresses
    cssCodeSplit: false,
  },
  server: { proxy: { '/v1': api, '/openapi.json': api } },
})
